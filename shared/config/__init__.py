"""Settings: read from the environment once, judged before anything listens.

Law of this package: a value that cannot work raises `SettingError` with one sentence that names its variable, says what
is wrong and repeats no secret. `settings` holds the table and the frozen `Settings`; the other files judge: `values`,
`secret_values` and `origins` what a text says by itself, `storage` and `data_dir` what it points to, `sign_in` how
people log in.
"""

from shared.config.settings import CREDENTIAL_SETTINGS, SETTINGS, URL_SETTINGS, Settings
from shared.config.sign_in import SIGN_IN_SETTINGS, SignIn
from shared.config.values import ANY_IPV4, ANY_IPV6, Bind, SettingError

__all__ = [
    "ANY_IPV4",
    "ANY_IPV6",
    "CREDENTIAL_SETTINGS",
    "SETTINGS",
    "SIGN_IN_SETTINGS",
    "URL_SETTINGS",
    "Bind",
    "SettingError",
    "Settings",
    "SignIn",
]
