"""Values of settings that cannot work, by the setting; most of them were written by somebody once."""

import base64
import hashlib

from shared import keys

PASSWORD = "pa55-of-somebody"
HUGE = "9" * 5000
KEY = base64.urlsafe_b64encode(bytes(range(32))).decode()
ANY = base64.urlsafe_b64encode(hashlib.sha256(b"any").digest()).decode()

NONSENSE = {
    "DATABASE_URL": (
        "sqlite://", "sqlite:///", "sqlite:////", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true", "sqlite:x.db",
        "sqlite:///file:x.db", "sqlite:///x.db?mode=ro", "sqlite:////nowhere/at/all/x.db", "sqlite:///nowhere/x.db", "sqlite:////etc", "sqlite:///data/secret_key", "sqlite:///data/machine_id",
        "sqlite:////etc/hostname", "sqlite:////etc/hostname/x.db", "sqlite:////dev/null", f"sqlite:////{'d' * 300}/x.db",
        f"sqlite:///{'d' * 300}", "sqlite+aiosqlite:///x.db", "SQLITE:///x.db",
        "postgresql://", "postgresql:", "postgresql", "postgresql://host", "postgresql://host/", "postgresql://host:0/db",
        "postgresql://host:99999/db", "postgresql://host:port/db", f"postgresql://host:{HUGE}/db", "postgresql://[::1/db", "postgresql://host/ ",
        f"postgresql://user:{PASSWORD}@with@host/db", f"postgresql://user:{PASSWORD}:x@host:y/db",
        "postgresql+psycopg2://host/db", "postgresql+asyncpg://host/db", "postgresql+nonsense://host/db", "mysql://x/y", "oracle://x/y",
        "nonsense", "://", "https://host/db", "/var/lib/router.db", "\udcff", "sqlite:///\udcff",
    ),
    "ROUTER_LEDGER_DATABASE_URL": (
        "postgresql:", "postgresql://host", f"postgresql://user:{PASSWORD}@with@host/db", "sqlite:///x.db", "mysql://x/y", "nonsense",
        "postgresql://host/db",
    ),
    "ROUTER_LIMITS_URL": (
        "sqlite:///", "sqlite://", "sqlite:////", "sqlite:///:memory:", "sqlite:///x.db?y", "sqlite:////nowhere/x.db", "sqlite:////etc", "sqlite:///data/secret_key", "sqlite:///data/router.db",
        "sqlite:////etc/hostname/x.db", "sqlite:////dev/null", "nonsense", "://", "memcached://localhost:11211", "memory://",
        f"nonsense://user:{PASSWORD}@host", "postgresql://host/db", "sqlite:///\udcff",
        "redis:", "redis://", "redis:///0", "redis://:6379", "redis://host:", "redis://host:0", "redis://host:99999", "redis://host:x/0",
        f"redis://host:{HUGE}", "redis://host/x", "redis://host/-1", f"redis://host/{HUGE}", "redis://host/0/1", "redis://h,h2", "redis://[::1",
        "redis://ho st", "redis://host/0#x", "redis://host?socket_timeout=60", "redis://host?x", "redis://host/0?db=1", "redis://\udcff",
        f"redis://user:{PASSWORD}@with@host", f"redis://user:{PASSWORD}/x@host:1", f"redis://user:{PASSWORD}#@host", f"redis://:{PASSWORD}@",
        "rediss://", "rediss://host?ssl_cert_reqs=none", "redis+unix://", "redis+unix:///", "redis+unix://host/x", "redis+unix:///x?db=x",
        "redis+unix:///x?db=", "redis+cluster://", "redis+cluster://host", "redis+cluster://host:1,", "redis+cluster://host:1,other",
        "redis+cluster://host:1/0", "redis+cluster://host:1?ssl=yes", "redis+sentinel://host:26379", "redis+sentinel://host:26379/",
        "redis+sentinel://host/name", "redis+sentinel://host:1/a/b", f"redis+sentinel://:{PASSWORD}@host/name", "valkey://", "valkeyx://host", "unix:///x",
    ),
    "ROUTER_DATA_DIR": (
        "/etc/hostname", "/etc/hostname/x", "/dev/null", "/proc/x", "/tmp", "/var/tmp", "~nobody-of-that-name/x", "d" * 300, "x?y", "a\nb",
        "\udcff",
    ),
    "ROUTER_WEB_BIND": (
        "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:1e3", "127.0.0.1:8080 x",
        f"127.0.0.1:{HUGE}", "127.0.0.1:\u0661", "host.example:80", "*:80", "http://127.0.0.1:80", "127.0.0.1:80/x", "1.2.3:80",
        "[::1:80", "[127.0.0.1:80", "127.0.0.1]:80", "224.0.0.1:80", "[::ffff:127.0.0.1]:80", "unix:/x", "256.0.0.1:80", "0x7f.1:80",
    ),
    "ROUTER_PROXY_BIND": ("8080", "127.0.0.1:0", f"127.0.0.1:{HUGE}", "localhost", "unix:/x"),
    "ROUTER_PROXY_WORKERS": ("0", "-1", "+1", "1.5", "1e9", "257", "1000000000", HUGE, "many", "\u0661", "1 2", "0x2", "sk-mine", "gsk_A1b2C3d4E5f6G7h8I9j0K1l2"),
    "SECRET_KEY": (
        "short", "a" * 40, "\udcff" * 40, "a\x00b" * 10, "passwordpassword", "change-me-please-now", "abcdabcdabcdabcd",
        "your-secret-key-here", "insecure-secret-key",
    ),
    "SECRET_KEY_FALLBACKS": ("short", ",", "a" * 40, "one that is long enough,short", "one that is long enough,"),
    "ROUTER_ENCRYPTION_KEY": (
        ",", " , ", "nonsense", "a" * 44, KEY[:-2], f"{KEY},x", "\u00e9" * 44,
        KEY + KEY, f"{ANY},{ANY}",
    ),
    "OPENAI_API_KEY": (
        "two words", "sch\u00fcssel", "a\x7fb", "a\nb", keys.mint(keys.PROXY_TAG).raw, keys.mint(keys.MANAGEMENT_TAG).raw,
        "x" * 501, '"sk-abc123456"', "'sk-abc123456", f"sk-proxy-{'0' * 64}", "sk-proxy-abcd", "sk-mgmt-x", "sk-ant-api03-x1", f"AIza{'x1' * 17}",
    ),
    "ANTHROPIC_API_KEY": ("two words", "\u200b", "sk-proj-x1", f"AIza{'x1' * 17}", "sk-proxy-"),
    "GEMINI_API_KEY": ("two words", "a\tb", "sk-ant-api03-x1", "sk-proj-x1"),
    "ROUTER_OPENAI_URL": (
        "api.openai.com", "https://", "https:///x", "https://@host", "https://host/a b", "https://h\u00f6st", "https://host/v?", "https://host/#x",
        "https://[::1", "https://host:0", "https://host:99999", f"https://host:{HUGE}", "https://host:x", "https://a..b", "https://.a.b",
        f"https://{'a' * 64}.com", f"https://{'a.' * 130}com", "https://-", "https://a,b", "https://a\\b", "https://[v1.x]", "ftp://host", "file:///x",
        "https://api.openai.com/v1", "https://host/v1/", "https://host/x/v1//", "https://host/V1", "https://host/v1/.", "https://host/x/..", "https://host/%2E/x",
        "https://host/%76%31", "https://host/x%2Fv1", "https://host/v4", "https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1/responses",
        "https://host/<x>", "https://host/%zz", "http://127.1:8080", "http://[::ffff:127.0.0.1]:8080", "http://[::ffff:7f00:1]:8080", "http://0:8080",
        "http://localhost.:8080", "http://LocalHost:8080", "http://x.localhost:8080", "http://0x7f000001:8080",
    ),
    "ROUTER_ANTHROPIC_URL": ("https://u:p@host", "//host", "https:host", "https://host/v1", "https://host/v1/messages"),
    "ROUTER_GEMINI_URL": (
        "file:///etc/passwd", "javascript:x", "https://host/v1beta", "https://host/v1alpha/", "https://host/v1", "https://host/v1beta/openai/", "https://host/v1beta2",
        "https://host/v1beta/models", "https://host/V1Beta/Models/gemini-2.5-flash:generateContent",
    ),
    "ROUTER_PUBLIC_URL": (
        "llm.example", "ftp://llm.example", "https://llm.example/v1", "https://llm.example/x/v1beta/", "https://u:p@host", "https://host/V1",
        "https://host/v1/chat/completions", "https://0.0.0.0:8080", "http://[::]:8080", "http://0:8080", "https://host/<script>", "https://host/../x",
        "https://host/$HOME", "https://host/'x",
    ),
    "ROUTER_DASHBOARD_URL": ("dash.example", "https://", "https://dash.example?x", "https://dash.example/v1", "http://0.0.0.0:8000"),
    "ROUTER_TRUSTED_PROXIES": (
        "*", "all", "0.0.0.0/0", "::/0", "0.0.0.0/1,128.0.0.0/1", "0.0.0.0/1", "128.0.0.0/1, 10.0.0.0/8", "::/1,8000::/1", "2000::/3",
        "2000::/4,3000::/4", "2000::/4", "2000::/4,3000::/5,3800::/6,3c00::/7", "2002::/16", "2600::/17,2600:8000::/17", "64:ff9b::/96", "64:ff9b::/64", "16.0.0.0/4", "0.0.0.0/2,64.0.0.0/2,192.0.0.0/3", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/0.255.255.255",
        "10.0.0.0/255.0.0.0", "::ffff:10.0.0.0/104", "010.0.0.1", "fe80::1%eth0", f"10.0.0.0/{HUGE}", HUGE, "localhost", "10.0.0.1 10.0.0.2",
    ),
    "ROUTER_ADMIN_EMAIL": ("nobody", "@", "a@", "@b", "a@b@c", "a b@c", "a@b\u202e", f"{'a' * 300}@b", "a@\udcff", "sk-proj-A1b2C3d4E5f6G7h8I9j0@x.y"),
    "ROUTER_ADMIN_PASSWORD": ("short", "x" * 1025, "\u00e9" * 513, "\udcff" * 10, "a\x00bcdefghi"),
    "ROUTER_BOOTSTRAP_TOKEN": ("sk-mgmt-123", "x" * 72, keys.mint(keys.PROXY_TAG).raw, "sk-mgmt-" + "0" * 64, "\u0661" * 72),
    "ROUTER_JOURNAL_SYNC": ("yes", "BATCH", "full", "none batch", "0"),
    "ROUTER_SMTP_URL": (
        "mail.example.com", "http://mail", "smtp://", "smtp://host/x", "smtp://host?x", "smtp://host#x", "smtp://host:0", f"smtp://host:{HUGE}",
        "smtp://[::1", "smtp://a..b", "smtp://ho st", "smtps://user@host", "smtp://host", f"smtp://user:{PASSWORD}@with@host", f"smtp+insecure://user:{PASSWORD}@host",
    ),
    "ROUTER_SMTP_FROM": ("nobody", "a@b@c", "<a@b>", "a@b,c@d", "\u00e9@b", f"{'a' * 300}@b"),
    "ROUTER_PROVIDERS_PRIVATE_ADDRESSES": ("all", "10.0.0.1/8", "localhost", HUGE),
    "ROUTER_ALERTS_PRIVATE_ADDRESSES": ("all", "10.0.0.1/8", "10.0.0.0/33", "::ffff:10.0.0.0/104", "fe80::1%eth0", HUGE, "localhost"),
    "ROUTER_OIDC_ISSUER": ("id.example", "http://id.example", "https://u:p@host", "https://host?x", f"https://host/{'x' * 255}", "https://id.example"),
    "ROUTER_OIDC_CLIENT_ID": ("two words", "r\u00f6uter", "router"), "ROUTER_OIDC_CLIENT_SECRET": (f"{PASSWORD} {PASSWORD}", "schl\u00fcssel", PASSWORD),
    "ROUTER_OIDC_SCOPES": ("email", "openidx", "openid \u00e9", "openid email"), "ROUTER_OIDC_GROUPS_CLAIM": ("two words", "gr\u00fcppen", "roles", ".", "a..b", "a."),
    "ROUTER_OIDC_ROLES": ("admins", "=admin", "admins=", "admins=root", "admins=admin,", ",", "a=admin,a=viewer", "admins=Admin", "a=member", "*=viewer"),
    "ROUTER_OIDC_DEFAULT_ROLE": ("none", "root", "Viewer", "viewer,member", "viewer"),
    "ROUTER_OIDC_REQUIRED_CLAIMS": ("hd", "=example.com", "hd=", "hd=a,", ",", "two words=x", "h\u00f6=x", "hd=example.com", "hd=*", ".=x", "a..b=x"),
    "ROUTER_PASSWORD_LOGIN": ("yes", "false", "ON", "on off", "0", "off"),
    "ROUTER_METRICS_BIND": ("9090", "127.0.0.1:0", "localhost", "unix:/x", "127.0.0.1:8080", "0.0.0.0:8000"),
    "ROUTER_REQUEST_LOG": ("yes", "ALL", "0", "0.0", "1.1", "-0.5", "0.", ".", "1e-3", "nan", "inf", "1%", HUGE, "0." + HUGE),
    "ROUTER_OTLP_ENDPOINT": ("collector:4318", "grpc://collector:4317", "http://u:p@collector", "http://collector/?x", "http://", "http://collector:4318/v1/traces", "http://h/x/v1/traces/", "http://h/v1/metrics"),
    "ROUTER_REQUEST_LOG_PATH": (
        "/etc", "/etc/hostname/x", "/nowhere/at/all", "d" * 300, ".", "a\nb", "\udcff", "data/secret_key", "data/router.db", "data/router.db-wal",
        "data/counters.db", "data/counters.db.lock", "data/counters-logins.db", "data/machine_id", "./data/../data/encryption_key",
    ),
}  # fmt: skip
