"""What never travels, whatever a `.gitignore` says: secrets, and what is of no use elsewhere.

Patterns are matched against one name of a path at a time, in lower case.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase

SECRETS = (
    ".env*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.p8", "*.ppk", "*.jks", "*.keystore",
    "*.kdbx", "*.asc", "*.gpg", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*_rsa",
    "*_ed25519", ".netrc", "_netrc", ".pypirc", ".npmrc", ".yarnrc.yml", ".pgpass", ".my.cnf",
    ".htpasswd", ".git-credentials", ".gitconfig", ".dockercfg", ".dockerconfigjson",
    ".boto", ".s3cfg", ".terraformrc", "*.tfstate", "*.tfstate.*", "*.tfvars", ".vault-token",
    "credentials", "credentials.json", "credentials.yaml", "credentials.yml", "credentials.toml",
    "credentials.ini", "credentials.db", "application_default_credentials.json",
    "client_secret*.json", "service-account*.json", "service_account*.json",
    "*-service-account.json", "*_service_account.json", "serviceaccount*.json",
    "secrets.toml", "secrets.yaml", "secrets.yml", "secrets.json", ".secrets*", "kubeconfig",
    "kubeconfig.*", "*.kubeconfig", "kaggle.json", ".databrickscfg", ".bash_history",
    ".zsh_history", ".python_history",
)  # fmt: skip
SECRET_FOLDERS = (
    ".aws", ".ssh", ".gnupg", ".azure", ".gcloud", ".kube", ".docker", ".kaggle",
    ".huggingface", ".password-store", ".oci", ".env*",
)  # fmt: skip
VERSION_CONTROL = (".git", ".hg", ".svn", ".bzr", ".jj", ".pijul", "_darcs", "cvs", ".fslckout")
OF_NO_USE = (
    "__pycache__", "*.pyc", "*.pyo", ".tradewind", ".venv", "node_modules", "site-packages",
    ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".import_linter_cache", ".tox",
    ".nox", ".ipynb_checkpoints", ".cache", ".ds_store", ".idea", ".vscode", ".coverage", "*.swp",
)  # fmt: skip

_KEY_HEADS = (b"-----BEGIN", b"PuTTY-User-Key-File", b"openssh-key-v1")
_HEAD_BYTES = 200


def why_not(name: str, folder: bool) -> str:
    """Why a file or folder of this name never travels; empty when it may."""
    low = name.lower()
    if any(fnmatchcase(low, pattern) for pattern in (SECRET_FOLDERS if folder else SECRETS)):
        return "may hold secrets"
    if low in VERSION_CONTROL:
        return "version control"
    if any(fnmatchcase(low, pattern) for pattern in OF_NO_USE):
        return "of no use elsewhere"
    return ""


def why_not_folder(path: str) -> str:
    """Why this folder, by what lies in it, never travels."""
    if os.path.exists(os.path.join(path, "pyvenv.cfg")):
        return "a virtual environment"
    if os.path.isdir(os.path.join(path, "conda-meta")):
        return "a conda environment"
    token, server = os.path.join(path, "token"), os.path.join(path, "server.json")
    if os.path.exists(token) and os.path.exists(server):
        return "Tradewind's data folder"
    return ""


def is_private_key(head: bytes) -> bool:
    """Whether a file that begins like this is a private key, whatever its name."""
    head = head[:_HEAD_BYTES].lstrip()
    if not head.startswith(_KEY_HEADS):
        return False
    return b"PRIVATE KEY" in head or not head.startswith(b"-----BEGIN")
