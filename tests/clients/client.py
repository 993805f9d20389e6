"""What stock.mjs starts: client.py URL TRANSPORT,...  with the token and a CA's file in the environment.

Does what it is told on stdin, a line of JSON each, says what it did and what happened, and leaves
when there is no more.
"""
import json
import os
import queue
import sys

import requests
import socketio

session = requests.Session()
session.trust_env = False  # a CA of the surroundings would come before ours
session.verify = os.environ["CA"] or True
client = socketio.Client(reconnection_delay=0.05, reconnection_delay_max=0.1, http_session=session)
transports = sys.argv[2].split(",")
# python-engineio takes each message in a thread of its own, where an attachment may overtake another
# and the event is put together wrongly: here they are taken one after the other.
trigger = client.eio._trigger_event
client.eio._trigger_event = lambda event, *args, **options: trigger(event, *args, **(options if event != "message" else {}))
back = queue.Queue()


def say(*words):  # at once, for there are several threads
    sys.stdout.write(" ".join(map(str, words)) + "\n")


def same(value, expected):
    if value != expected:
        say("not", repr(expected), "but", repr(value))
        os._exit(1)


@client.on("back")
def on_back(*args):
    back.put(args)


@client.on("told")
def on_told(user, data, words):
    say("told", json.dumps([user, {"b": list(data["b"])}, words]))


@client.event
def connect():
    say("connected")


@client.event
def connect_error(data):
    if isinstance(data, dict) and "message" in data:
        say("refused", data["message"], data["data"]["code"])
        os._exit(0)  # its other threads try again for ever
    say("in vain")


@client.event
def disconnect():
    say("parted")


def converse():
    words = "grüße €🦀"
    for value in (words, b"\x00\x04b\xff", {"deep": [1, 2.5, None, True, b"in", {"x": b""}]}, -7, b"", os.urandom(100_000)):
        same(client.call("echo", value), value)
    same(client.call("echo", ("two", b"2")), ("two", b"2"))
    client.emit("back", (words, b"\x07"))
    same(back.get(timeout=10), (words, b"\x07"))
    say("conversed by", client.transport())


def enter(room):
    same(client.call("enter", room), True)
    say("entered")


def tell(room, data, words):
    say("sent", client.call("tell", (room, {"b": bytes(data)}, words)))


try:
    client.connect(sys.argv[1], transports=transports, auth={"token": os.environ["TOKEN"]}, wait_timeout=10)
except socketio.exceptions.ConnectionError:
    pass
orders = {"converse": converse, "enter": enter, "tell": tell}
for line in sys.stdin:
    order, *args = json.loads(line)
    orders[order](*args)
client.disconnect()
os._exit(0)
