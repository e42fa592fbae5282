"""The GenICam description of the loopback camera: the library's own, with the features a machine camera has more.

What is added lies in free registers of the simulated device. The library only stores it; what it does is up to
`gige_server.py`.
"""

import re

TRIGGER_SOURCE, TRIGGER_SOFTWARE, TRIGGER_ACTIVATION = 0x1100, 0x1104, 0x1108
GAIN, COUNTER_SOURCE, COUNTER_VALUE = 0x1200, 0x1210, 0x1218
LATCH, LATCH_VALUE, TEMPERATURE = 0x1300, 0x1308, 0x1318
_SPARE = 0x2000

LINES = {"Line0": 0, "Software": 1, "Line3": 3}
_BAYER_RG12P, _MONO12P = 0x010C0059, 0x010C0047


def _int_reg(name, address, mode="RW", length=4, index=""):
    return (
        f'<IntReg Name="{name}" NameSpace="Custom"><Address>0x{address:x}</Address>{index}'
        f"<Length>{length}</Length><AccessMode>{mode}</AccessMode><pPort>Device</pPort><Sign>Unsigned</Sign>"
        "<Endianess>BigEndian</Endianess></IntReg>"
    )


def _float_reg(name, address, mode="RW", index=""):
    return (
        f'<FloatReg Name="{name}" NameSpace="Custom"><Address>0x{address:x}</Address>{index}<Length>8</Length>'
        f"<AccessMode>{mode}</AccessMode><pPort>Device</pPort><Endianess>BigEndian</Endianess></FloatReg>"
    )


def _enumeration(name, address, entries):
    listed = "".join(
        f'<EnumEntry Name="{entry}" NameSpace="Standard"><Value>{value}</Value></EnumEntry>'
        for entry, value in entries.items()
    )
    node = f'<Enumeration Name="{name}" NameSpace="Standard">{listed}<pValue>{name}Reg</pValue></Enumeration>'
    return node + _int_reg(f"{name}Reg", address)


def _floating(name, address, least, greatest, mode="RW", index=""):
    return (
        f'<Float Name="{name}" NameSpace="Standard"><pValue>{name}Reg</pValue><Min>{least}</Min>'
        f"<Max>{greatest}</Max></Float>" + _float_reg(f"{name}Reg", address, mode, index)
    )


def _integer(name, address, mode="RO", length=4):
    node = f'<Integer Name="{name}" NameSpace="Standard"><pValue>{name}Reg</pValue></Integer>'
    return node + _int_reg(f"{name}Reg", address, mode, length)


def _boolean(name, address):
    return (
        f'<Boolean Name="{name}" NameSpace="Standard"><pValue>{name}Reg</pValue><OnValue>1</OnValue>'
        "<OffValue>0</OffValue></Boolean>" + _int_reg(f"{name}Reg", address)
    )


def _command(name, address):
    return (
        f'<Command Name="{name}" NameSpace="Standard"><pValue>{name}Reg</pValue><CommandValue>1</CommandValue>'
        "</Command>" + _int_reg(f"{name}Reg", address, "RW")
    )


def _ordered(*names):
    return {name: number for number, name in enumerate(names)}


def _nodes():
    automatic = _ordered("Off", "Once", "Continuous")
    by_colour = '<pIndex Offset="0x8">BalanceRatioSelectorReg</pIndex>'
    yield (
        '<Float Name="ExposureTime" NameSpace="Standard"><pValue>ExposureTimeAbsConverter</pValue>'
        "<Min>17.0</Min><Max>30000000.0</Max><Unit>us</Unit></Float>"
    )
    yield _enumeration("ExposureAuto", _SPARE, automatic)
    yield _enumeration("BalanceWhiteAuto", _SPARE + 0x8, automatic)
    yield _enumeration("ExposureMode", _SPARE + 0x10, _ordered("Timed", "TriggerWidth"))
    yield _enumeration("TriggerOverlap", _SPARE + 0x18, _ordered("Off", "ReadOut"))
    yield _floating("TriggerDelay", _SPARE + 0x20, 0, 1e6)
    yield _boolean("AcquisitionFrameRateEnable", _SPARE + 0x28)
    yield _floating("Gain", GAIN, 0, 47.99)
    yield _floating("BlackLevel", _SPARE + 0x38, 0, 12.5)
    yield _boolean("GammaEnable", _SPARE + 0x40)
    yield _floating("Gamma", _SPARE + 0x48, 0.25, 4)
    yield _enumeration("BalanceRatioSelector", _SPARE + 0x50, _ordered("Red", "Blue"))
    yield _floating("BalanceRatio", _SPARE + 0x58, 0.25, 4, index=by_colour)
    yield _enumeration("LineSelector", _SPARE + 0x70, {"Line0": 0, "Line3": 3})
    yield _floating("LineFilterWidth", _SPARE + 0x78, 0, 5000)
    yield _enumeration("CounterSelector", _SPARE + 0x80, _ordered("Counter0", "Counter1"))
    yield _enumeration("CounterEventSource", COUNTER_SOURCE, {"Off": 9, "Line0": 0, "Line3": 3})
    yield _integer("CounterValue", COUNTER_VALUE)
    yield _floating("DeviceTemperature", TEMPERATURE, -50, 150, mode="RO")


def _latch():
    yield _command("TimestampLatch", LATCH)
    yield _integer("TimestampLatchValue", LATCH_VALUE, length=8)


def loopback_xml(xml, latch=True, counter=True):
    """The library's description `xml` with more features; without a latch or an edge counter on demand."""
    nodes = list(_nodes()) + (list(_latch()) if latch else [])
    if not counter:
        nodes = [node for node in nodes if 'Name="Counter' not in node]
    for register, address in (
        ("TriggerSourceRegister", TRIGGER_SOURCE),
        ("TriggerSoftwareCommandRegister", TRIGGER_SOFTWARE),
        ("TriggerActivationRegister", TRIGGER_ACTIVATION),
    ):
        xml, found = re.subn(
            rf'(<IntReg Name="{register}".*?<Address>)0x[0-9a-f]+(</Address>)(\s*<pIndex[^<]*</pIndex>)?',
            rf"\g<1>0x{address:x}\2",
            xml,
            count=1,
            flags=re.DOTALL,
        )
        assert found, register
    xml = _with_entry(xml, "TriggerSource", "Line3", LINES["Line3"])
    xml = _with_entry(xml, "TriggerActivation", "FallingEdge", 1)
    xml = _with_entry(xml, "PixelFormat", "BayerRG12p", _BAYER_RG12P)
    xml = _with_entry(xml, "PixelFormat", "Mono12p", _MONO12P)
    return xml.replace("<!-- Port -->", "\n".join(nodes) + "\n<!-- Port -->")


def _with_entry(xml, enumeration, name, value):
    entry = f'<EnumEntry Name="{name}" NameSpace="Standard"><Value>{value}</Value></EnumEntry>'
    changed, found = re.subn(
        rf'(<Enumeration Name="{enumeration}"[^>]*>)', rf"\1{entry}", xml, count=1, flags=re.DOTALL
    )
    assert found, enumeration
    return changed
