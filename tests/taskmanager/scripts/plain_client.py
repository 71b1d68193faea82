"""A plain client that does not have pyrotask: makes the calls it is told, and then stands still.

Usage: plain_client.py URI METHOD ARGUMENT... [-- METHOD ARGUMENT...]
Arguments are Python literals. Prints each call's name before it, and its result after it.
"""

import ast
import sys

import Pyro5.api

uri, *words = sys.argv[1:]
with Pyro5.api.Proxy(uri) as manager:
    manager._pyroBind()
    while words:
        end = words.index("--") if "--" in words else len(words)
        method, *arguments = words[:end]
        words = words[end + 1 :]
        print("calling", method, flush=True)
        print("got", getattr(manager, method)(*map(ast.literal_eval, arguments)), flush=True)
    print("done", flush=True)
    sys.stdin.read()
