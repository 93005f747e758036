"""Makes the shop that the stack sells from: an organizer, an event, products, a quota, a payment method and an API token.

What Pretix needs a browser for is done on its models. Run once, on an empty and migrated database; argument: the file that
gets the names. DJANGO_SETTINGS_MODULE is pretix.settings.
"""

import datetime
import json
import sys
from decimal import Decimal

import django

django.setup()

from django.utils.timezone import now  # noqa: E402
from django_scopes import scopes_disabled  # noqa: E402
from pretix.base.models import Event, Item, Organizer, Quota, Team, TeamAPIToken, User  # noqa: E402

# banktransfer is a plugin of the organizer and of the event: without either the event has no way to be paid.
PLUGINS = ",".join(
    "pretix.plugins." + name for name in ("banktransfer", "manualpayment", "sendmail", "ticketoutputpdf")
)

SETTINGS = {
    "payment_banktransfer__enabled": True,
    "payment_banktransfer_bank_details_type": "other",
    "payment_banktransfer_bank_details": "Bank 123",
    "payment_banktransfer_ack": True,
    "attendee_names_asked": False,
    "attendee_names_required": False,
    "order_email_asked_twice": False,
    "max_items_per_order": 10,
    "timezone": "UTC",
    "locale": "en",
    "locales": ["en"],
    # Nobody takes mail here.
    "mail_sales_channel_placed_paid": [],
    "mail_sales_channel_download_reminder": [],
}


def organizer():
    admin = User.objects.get(email="admin@localhost")  # Pretix's first migration makes it, with the password admin
    demo = Organizer.objects.create(name="Demo", slug="demo", plugins=PLUGINS)
    team = Team.objects.create(
        organizer=demo, name="Admins", all_events=True, all_event_permissions=True, all_organizer_permissions=True
    )
    team.members.add(admin)
    return demo, TeamAPIToken.objects.create(team=team, name="stack")


def event(demo):
    conf = Event.objects.create(
        organizer=demo,
        slug="conf",
        name="Conference",
        currency="EUR",
        date_from=now() + datetime.timedelta(days=3650),
        presale_start=now() - datetime.timedelta(days=1),
        plugins=PLUGINS,
    )
    conf.set_defaults()
    for name, value in SETTINGS.items():
        conf.settings.set(name, value)
    return conf


def product(conf, name, price):
    return Item.objects.create(event=conf, name=name, default_price=Decimal(price), admission=True, active=True)


def main(path):
    with scopes_disabled():
        demo, token = organizer()
        conf = event(demo)
        free, paid = product(conf, "Free ticket", "0.00"), product(conf, "Standard ticket", "23.00")
        quota = Quota.objects.create(event=conf, name="all", size=None)
        quota.items.add(free, paid)
        conf.settings.flush()
        if conf.live_issues:
            sys.exit(f"the event can't go live: {conf.live_issues}")
        conf.live = True
        conf.save()
    with open(path, "w") as file:
        json.dump({"token": token.token, "free": free.pk, "paid": paid.pk}, file)


main(sys.argv[1])
