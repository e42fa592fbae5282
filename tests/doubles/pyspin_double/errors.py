"""Error codes of the SDK and its one exception."""

CODES = {
    "ERROR": -1001,
    "NOT_INITIALIZED": -1002,
    "NOT_IMPLEMENTED": -1003,
    "RESOURCE_IN_USE": -1004,
    "ACCESS_DENIED": -1005,
    "INVALID_HANDLE": -1006,
    "INVALID_ID": -1007,
    "NO_DATA": -1008,
    "INVALID_PARAMETER": -1009,
    "IO": -1010,
    "TIMEOUT": -1011,
    "ABORT": -1012,
    "INVALID_BUFFER": -1013,
    "NOT_AVAILABLE": -1014,
    "INVALID_ADDRESS": -1015,
    "RESOURCE_EXHAUSTED": -1020,
    "OUT_OF_MEMORY": -1021,
    "BUSY": -1022,
    "GENICAM_INVALID_ARGUMENT": -2001,
    "GENICAM_OUT_OF_RANGE": -2002,
    "GENICAM_ACCESS": -2006,
    "GENICAM_DYNAMIC_CAST": -2008,
}


class SpinnakerException(Exception):
    """Raised by everything of the SDK."""

    def __init__(self, text, code):
        self.message = f"Spinnaker: {text} [{code}]"
        self.errorcode = code
        super().__init__(self.message)


def error(name, text):
    return SpinnakerException(text, CODES[name])
