"""What crosses the wire, and the maths both ends share.

Imports no network, camera or screen: everything here is a function of bytes and arrays.
"""
