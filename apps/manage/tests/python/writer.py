"""A Django process that knows the site's tables, and writes orders as Django code does, driven by JSON lines.

Usage: writer.py DATABASE, where DATABASE is what the program's `--database` takes. Each line of the standard input is
a command, {"do": "create", "with": {...}}; each line of the standard output answers one, {"ok": ...} or
{"error": "ValueError", "text": "..."}. The models are unmanaged: the tables are the program's.
"""

import json
import sqlite3
import sys
from decimal import Decimal
from urllib.parse import urlsplit

import django
from django.conf import settings


def database(address):
    """The entry of DATABASES that means the same."""
    if address.startswith("sqlite:"):
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": address.removeprefix("sqlite:")}
    url = urlsplit(address)
    server = {"HOST": url.hostname, "PORT": url.port, "USER": url.username, "PASSWORD": url.password}
    return {"ENGINE": "django.db.backends.postgresql", "NAME": url.path.lstrip("/"), **server}


settings.configure(DATABASES={"default": database(sys.argv[1])}, USE_TZ=True, TIME_ZONE="Europe/Vienna")
django.setup()

from django.db import connection, models, transaction
from django.db.models import F


class ExactDecimalField(models.DecimalField):
    """A decimal in a column of texts, which the site has on SQLite, where Django's own field reads floats only."""

    def get_internal_type(self):
        return "DecimalField" if connection.vendor == "postgresql" else "TextField"

    def from_db_value(self, value, expression, connection):
        return None if value is None else Decimal(value)


class User(models.Model):
    id = models.BigAutoField(primary_key=True)
    username = models.TextField(unique=True)
    email = models.TextField()
    password = models.TextField()
    is_staff = models.BooleanField(default=False)
    is_superuser = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    created = models.BigIntegerField(default=0)

    class Meta:
        managed = False
        app_label = "accounts"
        db_table = "accounts_user"


class Order(models.Model):
    id = models.BigAutoField(primary_key=True)
    owner = models.ForeignKey(User, on_delete=models.CASCADE)
    instrument = models.CharField(max_length=32)
    quantity = ExactDecimalField(max_digits=15, decimal_places=6)
    price = ExactDecimalField(max_digits=15, decimal_places=6)
    created = models.DateTimeField(auto_now_add=True)
    updated = models.DateTimeField(auto_now=True)

    class Meta:
        managed = False
        app_label = "orders"
        db_table = "orders_order"


class Meant(Exception):
    """Rolls a transaction back, as an error in the middle of a view does."""


def order(owner, instrument, quantity, price):
    return Order(owner=User.objects.get(username=owner), instrument=instrument, quantity=quantity, price=price)


class Writer:
    """Does what the commands say; each public method is one."""

    def create(self, **fields):
        new = order(**fields)
        new.save()
        return new.pk

    def bulk_create(self, orders):
        return [new.pk for new in Order.objects.bulk_create([order(**fields) for fields in orders])]

    def read(self, pk):
        found = Order.objects.get(pk=pk)
        numbers = {"quantity": str(found.quantity.normalize()), "price": str(found.price.normalize())}
        return {**numbers, "owner": found.owner.username, "created": found.created.isoformat()}

    def save(self, pk, **changes):
        """Reads an order, changes it and saves all of it."""
        found = Order.objects.get(pk=pk)
        for name, value in changes.items():
            setattr(found, name, value)
        found.save()

    def give(self, pk, owner):
        Order.objects.filter(pk=pk).update(owner=User.objects.get(username=owner))

    def update(self, pks, **changes):
        return Order.objects.filter(pk__in=pks).update(**changes)

    def add(self, pks, quantity):
        """Has the database reckon."""
        return Order.objects.filter(pk__in=pks).update(quantity=F("quantity") + Decimal(quantity))

    def bulk_update(self, prices):
        found = list(Order.objects.filter(pk__in=[int(pk) for pk in prices]).order_by("pk"))
        for each in found:
            each.price = Decimal(prices[str(each.pk)])
        return Order.objects.bulk_update(found, ["price"])

    def delete(self, pk):
        Order.objects.get(pk=pk).delete()

    def delete_all(self, pks):
        """Deletes what a query finds."""
        return Order.objects.filter(pk__in=pks).delete()[0]

    def create_user(self, username):
        return User.objects.create(username=username).pk

    def delete_user(self, username):
        """Deletes a user, and by Django's cascade the orders."""
        return User.objects.get(username=username).delete()[0]

    def roll_back(self, pk, **fields):
        """Creates, updates and deletes in a transaction that comes to nothing."""
        try:
            with transaction.atomic():
                self.create(**fields)
                self.save(pk, quantity=Decimal(999))
                self.bulk_create([fields, fields])
                self.delete(pk)
                raise Meant
        except Meant:
            return Order.objects.filter(pk=pk).exists()

    def roll_back_in_part(self, pk, keep, drop):
        """A savepoint comes to nothing in a transaction that does not."""
        with transaction.atomic():
            self.save(pk, quantity=Decimal(keep))
            try:
                with transaction.atomic():
                    self.save(pk, quantity=Decimal(drop))
                    raise Meant
            except Meant:
                pass

    def several(self, pk, quantities):
        """Many writes of one order in one transaction."""
        with transaction.atomic():
            for quantity in quantities:
                self.save(pk, quantity=Decimal(quantity))

    def cursor(self, sql, values):
        """Raw SQL over Django's connection."""
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.rowcount

    def shell(self, script):
        """Raw SQL over a connection with which Django has nothing to do, as a shell has."""
        if connection.vendor == "postgresql":
            import psycopg

            with psycopg.connect(sys.argv[1], autocommit=True) as shell:
                shell.execute(script)
            return
        shell = sqlite3.connect(settings.DATABASES["default"]["NAME"])
        shell.executescript(script)
        shell.close()

    def rebuild(self, instrument):
        """Alters a column as a migration does: SQLite has Django make the table anew."""
        old, new = Order._meta.get_field("instrument"), models.CharField(max_length=instrument)
        new.set_attributes_from_name("instrument")
        new.model = Order
        with connection.schema_editor() as editor:
            editor.alter_field(Order, old, new)


def main():
    writer = Writer()
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = {"ok": getattr(writer, command["do"])(**command["with"])}
        except Exception as error:
            answer = {"error": type(error).__name__, "text": str(error)}
        print(json.dumps(answer), flush=True)


main()
