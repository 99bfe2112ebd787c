"""The encryption service (EaaS): keys that it manages for organisations, and their use."""
