"""Django as Pretix uses it: models, transactions, savepoints, locks and large reads; argv: host port user password
database driver, where the driver is `psycopg` or `psycopg2`."""

import sys

HOST, PORT, USER, PASSWORD, DATABASE, DRIVER = sys.argv[1:]
if DRIVER == "psycopg2":  # Django takes psycopg 3 where it finds it
    sys.modules["psycopg"] = None

from django.conf import settings  # noqa: E402

settings.configure(
    INSTALLED_APPS=[],
    USE_TZ=True,
    TIME_ZONE="Europe/Berlin",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": HOST,
            "PORT": PORT,
            "USER": USER,
            "PASSWORD": PASSWORD,
            "NAME": DATABASE,
            "DISABLE_SERVER_SIDE_CURSORS": True,
        }
    },
)

import django  # noqa: E402

django.setup()

from django.db import IntegrityError, connection, models, transaction  # noqa: E402
from django.db.models import Count, F, Sum  # noqa: E402
from django.utils import timezone  # noqa: E402


class Order(models.Model):
    code = models.CharField(max_length=16, unique=True)
    total = models.DecimalField(max_digits=10, decimal_places=2)
    placed = models.DateTimeField(default=timezone.now)
    meta = models.JSONField(default=dict)

    class Meta:
        app_label = "shop"


class Position(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="positions")
    price = models.DecimalField(max_digits=10, decimal_places=2)

    class Meta:
        app_label = "shop"


assert connection.Database.__name__.split(".")[0] == DRIVER, connection.Database
with connection.cursor() as cursor:
    cursor.execute("drop table if exists shop_position, shop_order")
with connection.schema_editor() as editor:
    editor.create_model(Order)
    editor.create_model(Position)

moment = timezone.now()
order = Order.objects.create(code="A1", total="23.00", placed=moment, meta={"seat": ["A", 1]})
Position.objects.bulk_create(Position(order=order, price=n) for n in range(5000))
assert Order.objects.get(code="A1").placed == moment
assert Order.objects.get(meta__seat__0="A") == order
assert Position.objects.filter(price__gte=10).aggregate(n=Count("id"), sum=Sum("price")) == {
    "n": 4990,
    "sum": sum(range(10, 5000)),
}
assert sum(1 for _ in Position.objects.iterator(chunk_size=500)) == 5000

with transaction.atomic():
    locked = Order.objects.select_for_update().get(pk=order.pk)
    locked.total = F("total") + 1
    locked.save()
assert Order.objects.get(pk=order.pk).total == 24

try:
    with transaction.atomic():
        Order.objects.create(code="A2", total=1)
        raise KeyError("rolled back")
except KeyError:
    pass
assert not Order.objects.filter(code="A2").exists()

with transaction.atomic():
    Order.objects.create(code="A3", total=1)
    try:
        with transaction.atomic():  # a savepoint
            Order.objects.create(code="A1", total=1)
    except IntegrityError:
        pass
    else:
        raise AssertionError("a duplicate code went unnoticed")
    Order.objects.create(code="A4", total=1)
assert list(Order.objects.order_by("code").values_list("code", flat=True)) == ["A1", "A3", "A4"]

after = []
with transaction.atomic():
    transaction.on_commit(lambda: after.append(Order.objects.count()))
    Order.objects.filter(code="A4").delete()
assert after == [2]

with connection.schema_editor() as editor:
    editor.delete_model(Position)
    editor.delete_model(Order)
connection.close()
