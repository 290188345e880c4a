"""Carries out configuration operations through upstream's liblxc.

Reads lines OPERATION<TAB>KEY[<TAB>VALUE] and answers each with one line: a JSON value. "new" begins a container.
The offsets are those of struct lxc_container, which upstream only ever extends at its end.
"""
import ctypes
import json
import sys

lib = ctypes.CDLL("liblxc.so.1")
lib.lxc_container_new.restype = ctypes.c_void_p
lib.lxc_container_new.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
SET, CLEAR, GET, KEYS, LOAD, SAVE = 192, 264, 272, 288, 128, 208
lxcpath = sys.argv[1].encode()
container = None


def method(offset, result, *arguments):
    pointer = ctypes.cast(container + offset, ctypes.POINTER(ctypes.c_void_p))[0]
    return ctypes.CFUNCTYPE(result, ctypes.c_void_p, *arguments)(pointer)


def text(offset, key):
    read = method(offset, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int)
    length = read(container, key, None, 0)
    if length < 0:
        return length
    buffer = ctypes.create_string_buffer(length + 1)
    read(container, key, buffer, length + 1)
    return buffer.raw[:length].decode("utf-8", "replace")


def answer(operation, fields):
    global container
    arguments = [field.encode() for field in fields]
    if operation == "new":
        container = lib.lxc_container_new(b"peer", lxcpath)
        # Getters fail until there is a configuration; this makes one.
        return bool(method(SET, ctypes.c_bool, ctypes.c_char_p, ctypes.c_char_p)(container, b"lxc.uts.name", b""))
    if operation == "set":
        return bool(method(SET, ctypes.c_bool, ctypes.c_char_p, ctypes.c_char_p)(container, *arguments))
    if operation == "clear":
        return bool(method(CLEAR, ctypes.c_bool, ctypes.c_char_p)(container, *arguments))
    if operation == "load":
        return bool(method(LOAD, ctypes.c_bool, ctypes.c_char_p)(container, *arguments))
    if operation == "save":
        return bool(method(SAVE, ctypes.c_bool, ctypes.c_char_p)(container, *arguments))
    if operation == "get":
        return text(GET, arguments[0])
    if operation == "keys":
        return text(KEYS, arguments[0] or None)
    if operation == "supported":
        return bool(lib.lxc_config_item_is_supported(arguments[0]))
    raise ValueError(operation)


for line in sys.stdin:
    operation, *fields = line.rstrip("\n").split("\t")
    print(json.dumps(answer(operation, fields)), flush=True)
