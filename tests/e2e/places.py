"""Every page and dialog of the dashboard, for what has to be true of all of them: whoever adds one adds its line.

`tests/e2e/test_pages_looks.py` goes to each in Chromium, `tests/e2e/screenshots.py` takes its picture.
"""

from dataclasses import dataclass

from playwright.sync_api import Page


@dataclass(frozen=True, slots=True)
class Place:
    """A page, or the dialog that opens over it after `clicks`, one after the other.

    `link` leads from the path to a page whose address nobody knows beforehand.
    """

    name: str
    path: str
    clicks: tuple[str, ...] = ()
    link: str = ""

    def visit(self, page: Page, web_url: str) -> None:
        """Go there, and wait until it stands."""
        page.goto(web_url + self.path)
        if self.link:
            page.goto(web_url + (page.locator(self.link).first.get_attribute("href") or ""))
        for selector in self.clicks:
            page.locator(selector).first.click()
        if self.clicks:
            page.locator("dialog[open] #panel-title").wait_for()


# What a person sees who is logged in as an administrator.
PLACES = (
    Place("overview", "/overview"),
    Place("keys", "/keys"),
    Place("keys-none-found", "/keys?q=nothing+at+all"),
    Place("key-new", "/keys/new"),
    Place("key-new-dialog", "/keys", ("#create-key",)),
    Place("key-limits-dialog", "/keys", ("#create-key", "#modal-body summary:has-text('Limits for models')")),
    Place("key-edit-dialog", "/keys?q=billing", ("[id^=actions-key_]", "[id^=edit-key_]")),
    Place("key-raise-dialog", "/keys?q=billing", ("[id^=actions-key_]", "[id^=edit-key_]", "#modal-body summary")),
    Place("key-rotate-dialog", "/keys?q=billing", ("[id^=actions-key_]", "[id^=rotate-key_]")),
    Place("key-revoke-dialog", "/keys?q=billing", ("[id^=actions-key_]", "[id^=revoke-key_]")),
    Place("keys-extend-dialog", "/keys", ("[name=ids]", "#bulk-extend")),
    Place("key-page", "/keys?q=billing", link="#keys-body th a"),
    Place("key-alerts-dialog", "/keys?q=billing", ("#alerts",), link="#keys-body th a"),
    Place("usage", "/usage"),
    Place("usage-by-key", "/usage?group_by=key"),
    Place("requests", "/requests"),
    Place("requests-refused", "/requests/refused"),
    Place("requests-filtered", "/requests?model=nothing&period=1h"),
    Place("audit", "/audit"),
    Place("audit-event-dialog", "/audit?action=key.create", ("[id^=open-aud_]",)),
    Place("providers", "/providers"),
    Place("provider-credential-dialog", "/providers", ("#credential_openai",)),
    Place("provider-credential-add-dialog", "/providers", ("#add_openai",)),
    Place("provider-credential-edit-dialog", "/providers", ("[id^=edit-cred_]",)),
    Place("provider-credential-remove-dialog", "/providers", ("[id^=remove-cred_]",)),
    Place("provider-add-dialog", "/providers", ("#add-provider",)),
    Place("models", "/providers/models?provider=anthropic"),
    Place("model-price-dialog", "/providers/models?q=haiku-4-5", ("[id^=price-anthropic]",)),
    Place("members", "/settings/members"),
    Place("member-deactivate-dialog", "/settings/members", ("[id^=deactivate-usr_]",)),
    Place("member-password-dialog", "/settings/members", ("[id^=password-usr_]",)),
    Place("alerts", "/settings/alerts"),
    Place("settings", "/settings"),
    Place("account", "/account"),
    Place("api", "/docs"),
    Place("not-found", "/nothing-is-here"),
)
# And one who is not.
LOGIN = Place("login", "/login")
