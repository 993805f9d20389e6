"""What python.test.mjs starts: client.py URL TRANSPORT,...  with the token in the environment.

Converses whenever it is connected, says so, and ends when it is told something in the room "green".
"""
import os
import queue
import sys
import threading

import socketio

client = socketio.Client(reconnection_delay=0.05, reconnection_delay_max=0.1)
transports = sys.argv[2].split(",")
done = threading.Event()
back = queue.Queue()


def same(value, expected):
    if value != expected:
        print("not", repr(expected), "but", repr(value))
        os._exit(1)


@client.on("back")
def on_back(*args):
    back.put(args)


@client.on("told")
def on_told(user, words, data):
    print("told", user, words, data.hex())
    done.set()


@client.event
def connect():
    client.start_background_task(converse)


@client.event
def connect_error(data):
    if isinstance(data, dict):  # else there is no gateway, and it tries again
        print("refused", data["message"], data["data"]["code"])
        os._exit(0)  # its other threads try again for ever


@client.event
def disconnect():
    print("parted")


def converse():
    print("transport", client.transport())
    words = "grüße €🦀"
    for value in (words, b"\x00\x04b\xff", {"deep": [1, 2.5, None, True, b"in", {"x": b""}]}, -7, b"", os.urandom(100_000)):
        same(client.call("echo", value), value)
    same(client.call("echo", ("two", b"2")), ("two", b"2"))
    client.emit("back", (words, b"\x07"))
    same(client.call("enter", "green"), True)
    same(back.get(timeout=10), (words, b"\x07"))
    client.call("tell", ("blue", words, b"\x00\x04b\xff"))
    print("conversed")


try:
    client.connect(sys.argv[1], transports=transports, auth={"token": os.environ["TOKEN"]}, wait_timeout=10)
except socketio.exceptions.ConnectionError:
    pass
if not done.wait(30):
    sys.exit("nobody told it anything")
client.disconnect()
