"""The keys that questions are asked with, pinned by the wallet: another for one analyst is a mark.

Whoever seals to a key of its own, or has its grants given back with one, is known by it at each
question. The authority's signature does not keep it from signing several, so the wallet keeps which
it saw first, and takes no other before whoever owns it says so.
"""

from __future__ import annotations

from dataclasses import replace

from gridsecure.analyst.grants import QueryClient
from gridsecure.analyst.wallets import WalletFile
from gridsecure.credentials.sealed_questions import QueryKeys
from gridsecure.errors import AuthenticityError


def take_query_keys(file: WalletFile, client: QueryClient, *, accepted: str = "") -> QueryKeys:
    """The authority's query keys, if they are those that the wallet keeps; the first are kept.

    Args:
        accepted: The thumbprint of those that the wallet's owner takes, as others see it.

    Raises:
        AuthenticityError: They are others (`query.key`).
        GridSecureError: As `QueryClient.query_keys`.
    """
    keys, wallet = client.query_keys(), file.require()
    wanted = accepted or wallet.query_key
    if wanted and wanted != keys.thumbprint:
        raise AuthenticityError(
            f"The key authority's query key is another one than before, or than you named:"
            f" {keys.thumbprint}.",
            reason="query.key",
            remedy="Ask another analyst, or the authority's operator, which thumbprint they see."
            " If it is this one, the key was renewed: ask again with --query-key and it. Otherwise"
            " send nothing: it would mark your questions.",
        )
    if wallet.query_key != keys.thumbprint:
        file.keep(replace(wallet, query_key=keys.thumbprint))
    return keys
