"""What all keys of an organisation may use together, as far as policy has a word in it."""

from dataclasses import replace

from msgspec import structs
from policy_kit import ASK, NOW, OPEN

from shared.organization_limits import OrganizationLimits
from shared.policy import Allow, Charges, Deny, Reason, evaluate


def test_limits_of_the_organisation_become_charges_and_free_requests_have_none_of_money() -> None:
    free = structs.replace(ASK, free=True)
    for limits, charged, of_free in (
        (OrganizationLimits(60, 100, "daily"),) * 2 + (OrganizationLimits(60, None, "daily"),),
        (OrganizationLimits(60, None, "daily"),) * 3,
        (OrganizationLimits(None, 100, "daily"),) * 2 + (None,),
    ):
        key = replace(OPEN, organization=limits)
        assert evaluate(key, ASK, NOW) == Allow(Charges(None, None, 5, charged))
        assert evaluate(key, free, NOW) == Allow(Charges(None, None, 0, of_free))


def test_what_nobody_can_price_is_refused_for_the_organisations_limit_too() -> None:
    key = replace(OPEN, organization=OrganizationLimits(None, 5_000_000_000, "daily"))
    for ask, expected in (
        (structs.replace(ASK, metered=False, bound_nanos=None), Reason.ENDPOINT_NOT_METERED),
        (structs.replace(ASK, bound_nanos=None), Reason.MODEL_NOT_PRICED),
    ):
        verdict = evaluate(key, ask, NOW)
        assert isinstance(verdict, Deny)
        assert verdict.reason is expected
        told = (verdict.facts["spend_limit_usd"], verdict.facts["organization_spend_limit_usd"])
        assert told == (None, "5.00")
        assert "the organisation of the proxy key sk-proxy-a1b2... has a spend limit of $5.00" in verdict.sentence()
        own = evaluate(replace(key, spend_limit_nanos=7_000_000_000), ask, NOW)
        assert isinstance(own, Deny)
        assert "the proxy key sk-proxy-a1b2... has a spend limit of $7.00" in own.sentence()
        rate_alone = replace(OPEN, organization=OrganizationLimits(9, None, "never"))
        assert isinstance(evaluate(rate_alone, ask, NOW), Allow)
