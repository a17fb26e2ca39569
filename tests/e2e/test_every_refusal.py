"""A refusal of each code, as a worker leaves it, beside the running router: seen within two seconds wherever it is told.

Not each of them can be caused from outside, so they begin where workers write them down; `test_key_page.py` causes those
that can.
"""

import html
import re
import string
import time
from collections.abc import Iterator

import pytest
import requests
from drivers import session_of
from harness import Router, eventually

from proxyd.accounting.refusal_log import RefusalLog, Refused
from shared.policy import ERRORS, Deny, KeySnapshot, Reason
from webapp.views.refusal_help import HELP

LATE_SECONDS = 2.0
MUCH = "9000000.00"  # more than any limit here, so that what is refused for money stands
LIMITS = {
    "spend_limit_usd": "5", "rate_limit_rpm": 5, "rate_limit_tpm": 5_000, "max_concurrent_requests": 2,
    "allowed_ips": ["10.9.0.0/16"], "allowed_providers": ["gemini"], "allowed_models": ["gemini-*"],
    "model_limits": [{"model": "*", "spend_limit_usd": "5"}],
}  # fmt: skip
OF_STATE = {Reason.KEY_REVOKED: "Revoked", Reason.KEY_EXPIRED: "Expired", Reason.KEY_PAUSED: "Paused"}


@pytest.fixture(scope="module")
def staff(router: Router) -> Iterator[requests.Session]:
    with session_of(router) as session:
        yield session


@pytest.fixture
def org_id(router: Router) -> Iterator[str]:
    """The organisation, which has limits meanwhile: else nothing is refused for them any more."""
    path, none = "/v1/organization", {"spend_limit_usd": None, "rate_limit_rpm": None}
    limited = router.api("PATCH", path, json={"spend_limit_usd": "1000000", "rate_limit_rpm": 100_000})
    assert limited.status_code == 200, limited.text
    yield limited.json()["id"]
    router.api("PATCH", path, json=none).raise_for_status()


def key_for(router: Router, reason: Reason) -> str:
    """A key with every limit, in the state that the reason names."""
    key_id, _ = router.create_key(name=f"each {reason.value}", **LIMITS)
    if reason is Reason.KEY_REVOKED:
        router.api("DELETE", f"/v1/keys/{key_id}").raise_for_status()
    elif reason is Reason.KEY_PAUSED:
        router.edit(key_id, paused=True)
    elif reason is Reason.KEY_EXPIRED:
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
        router.edit(key_id, expires_at=moment)
        eventually(lambda: router.key(key_id)["status"] == "expired", what="the end of its time")
    return key_id


def deny(reason: Reason) -> Deny:
    """With something for each fact that its sentence tells."""
    names = [name for _, name, _, _ in string.Formatter().parse(ERRORS[reason].text) if name]
    return Deny(reason, {name: MUCH if name == "needed_usd" else f"({name})" for name in names})


def snapshot(key_id: str, org_id: str) -> KeySnapshot:
    nothing = frozenset[str]()
    return KeySnapshot(key_id, org_id, "", "sk-proxy-a1b2", False, None, False, nothing, (), (), None, None, "never")


def text_of(page: requests.Response) -> str:
    assert page.status_code == 200, page.text
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.text)).split())


def test_it_works(router: Router, staff: requests.Session, org_id: str) -> None:
    """In the list of refusals, on the page of its key, and by the badge of the key; with its cause and what to do."""
    keys = {reason: key_for(router, reason) for reason in Reason}
    log = RefusalLog(router.data_dir / "refusals")
    waits = []
    for some in (list(Reason)[0::3], list(Reason)[1::3], list(Reason)[2::3]):
        for reason in some:
            refused = Refused(time.time(), ERRORS[reason].status, deny(reason), "o3", "203.0.113.7", f"req_{reason}")
            log.note(snapshot(keys[reason], org_id), refused)
        log.hand_over()
        begun = time.monotonic()
        wanted = [f'id="open-{keys[reason]}-{reason.value}"' for reason in some]

        def listed(wanted: list[str] = wanted) -> bool:
            page = staff.get(f"{router.web_url}/requests/refused?limit=100", timeout=10).text
            return all(one in page for one in wanted)

        eventually(listed, what="each of these refusals in the list")
        waits.append(time.monotonic() - begun)
    assert sorted(waits)[1] < LATE_SECONDS, f"seen after {waits} s"

    badges = badges_of(router, staff, keys)
    for reason, key_id in keys.items():
        words, sentence = HELP[reason], deny(reason).sentence()
        page = text_of(staff.get(f"{router.web_url}/keys/{key_id}", timeout=10))
        for told in (words.title, words.cause, words.remedy, sentence, f"{ERRORS[reason].status} {reason.value}"):
            assert told in page, (reason, told)
        dialog = text_of(staff.get(f"{router.web_url}/requests/refused/{key_id}/{reason.value}", timeout=10))
        for told in (words.title, words.cause, words.remedy, sentence):
            assert told in dialog, (reason, told)
        label, beside = badges[key_id]
        if reason in OF_STATE:
            assert label == OF_STATE[reason]
        else:
            assert (reason, label) == (reason, "Blocked" if words.lasting else "Refused lately")
            assert beside == words.title


def badges_of(router: Router, staff: requests.Session, keys: dict[Reason, str]) -> dict[str, tuple[str, str]]:
    """By key: what its badge says in the list, and what stands beside it."""
    answer = staff.get(f"{router.web_url}/keys?status=all&limit=100&q=each", timeout=10)
    assert answer.status_code == 200
    page = answer.text
    found = {}
    for key_id in keys.values():
        row = page.partition(f'id="row-{key_id}"')[2].partition("</tr>")[0]
        state = re.search(r'class="pill[^>]*>.*?</svg>([^<]+)<.*?</summary>', row, re.DOTALL)
        beside = re.search(r'class="[^"]*\bcut\b[^"]*"[^>]*>([^<]*)<', row)
        assert state is not None, key_id
        found[key_id] = (state[1].strip(), html.unescape(beside[1]).strip() if beside else "")
    return found
