"""The one exception family of Headwire."""


class HeadwireError(Exception):
    """A failure that a user can be told in one sentence: what is wrong, where, and what to do.

    ``exit_code`` is what the command line ends with: 2 for a user's mistake, 1 for a failure.
    """

    exit_code = 1


class UsageError(HeadwireError):
    """The user asked for something that cannot be done as asked (no such file, unknown model)."""

    exit_code = 2


class BitstreamError(HeadwireError):
    """Bytes from a peer or a file that are not a valid Headwire stream.

    The only exception that parsing foreign bytes may raise.
    """


class TransportError(HeadwireError):
    """The peer, the signalling server or the network failed."""
