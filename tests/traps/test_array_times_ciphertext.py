"""Trap: an array times a ciphertext silently makes an array of ciphertexts."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tenseal

from gridsecure.homomorphic.secret_key import SecretKeySet

OPERATORS: list[Callable[[Any, Any], Any]] = [operator.mul, operator.add, operator.sub]


def test_library_makes_an_array_of_ciphertexts() -> None:
    context = tenseal.context(
        tenseal.SCHEME_TYPE.BFV, poly_modulus_degree=4096, plain_modulus=1032193
    )
    vector = tenseal.bfv_vector(context, [1, 2, 3])
    product = np.array([1, 2, 3]) * vector
    assert isinstance(product, np.ndarray), "three ciphertexts where one was meant"
    assert product.dtype == object
    assert len(product) == 3


@pytest.mark.parametrize("operation", OPERATORS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("operand", [np.array([1, 2, 3]), np.int64(2), 2, [1, 2, 3]], ids=repr)
def test_columns_know_no_operators(
    interval_keys: SecretKeySet, operation: Callable[[Any, Any], Any], operand: object
) -> None:
    """Arithmetic has names here, so there is nothing for an array to spread itself over."""
    column = interval_keys.public.encrypt(np.arange(3), high=2)
    for arguments in ((operand, column), (column, operand)):
        with pytest.raises(TypeError):
            operation(*arguments)
