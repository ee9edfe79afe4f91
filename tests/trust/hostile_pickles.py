"""More than a hundred pickles that would run something when they are opened, in every form that pickle has."""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from itertools import chain
from pathlib import Path

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
# what strangers have been seen to call, and what could stand in for it; {touch} makes the canary
CALLS = """
os system touch
posix system touch
posix popen touch
subprocess Popen touch
subprocess call touch
subprocess run touch
subprocess check_output touch
subprocess getoutput touch
builtins eval code
builtins exec code
builtins compile code
builtins __import__ os
builtins getattr os
builtins open canary
__builtin__ eval code
__builtin__ execfile canary
io open canary
_io FileIO canary
codecs open canary
pathlib Path.touch canary
shutil rmtree canary
shutil copyfile canary
os remove canary
os mkdir canary
os makedirs canary
os rename canary
os chmod canary
os open canary
os putenv canary
os execv touch
os spawnl touch
os startfile touch
pty spawn touch
commands getoutput touch
platform popen touch
code interact code
code InteractiveInterpreter code
bdb Bdb.run code
pdb run code
cProfile run code
profile run code
timeit timeit code
timeit main code
trace Trace.run code
doctest debug_script code
runpy run_path canary
runpy run_module os
runpy _run_code code
importlib import_module os
importlib._bootstrap _gcd_import os
imp load_source canary
zipimport zipimporter canary
pkgutil resolve_name os
pydoc locate os
pydoc pipepager touch
pip main touch
pip._internal main touch
ensurepip bootstrap touch
venv create canary
webbrowser open touch
antigravity webbrowser touch
urllib.request urlopen touch
urllib.request urlretrieve touch
requests get touch
requests api.get touch
http.client HTTPConnection touch
socket create_connection touch
socket socket touch
ssl get_server_certificate touch
smtplib SMTP touch
ftplib FTP touch
telnetlib Telnet touch
asyncio.subprocess create_subprocess_shell touch
multiprocessing.process Process touch
threading Thread touch
_thread start_new_thread touch
signal signal touch
ctypes CDLL canary
ctypes.util find_library touch
functools partial touch
functools reduce touch
operator attrgetter os
operator methodcaller touch
operator itemgetter os
itertools starmap touch
types FunctionType code
types CodeType code
copyreg _reconstructor os
copyreg __newobj__ os
pickle loads code
pickle load canary
_pickle Unpickler canary
dill loads code
cloudpickle loads code
joblib load canary
marshal loads code
shelve open canary
logging FileHandler canary
logging.config fileConfig canary
tempfile mktemp canary
linecache getline canary
numpy load canary
numpy.testing._private.utils runstring code
numpy.distutils.exec_command exec_command touch
numpy.f2py.crackfortran myeval code
torch load canary
torch.hub load touch
torch.hub load_state_dict_from_url touch
torch.hub download_url_to_file touch
torch.jit load canary
torch.serialization load canary
torch.package PackageImporter canary
torch.utils.cpp_extension load canary
torch.utils._config_module load_config touch
torch._dynamo.guards GuardBuilder.get touch
torch.fx.experimental.symbolic_shapes ShapeEnv.evaluate_guards_expression code
torch.utils.collect_env run touch
torch.utils.data.datapipes.utils.decoder basichandlers touch
torch.distributed.rpc rpc_sync touch
torch.nn.modules.module torch touch
torchvision.models get_model os
ultralytics YOLO canary
ultralytics.nn.tasks attempt_load_one_weight canary
ultralytics.nn.tasks yaml_model_load canary
ultralytics.nn.tasks parse_model canary
ultralytics.nn.autobackend AutoBackend canary
ultralytics.utils.checks check_requirements touch
ultralytics.utils.downloads safe_download touch
ultralytics.utils.torch_utils strip_optimizer canary
ultralytics.utils.patches torch_load canary
kd_yolo.yolo.files.unpickle unpickle_trusted canary
"""
_NAMES = """
builtins.eval builtins.exec builtins.__import__ builtins.object builtins.type functools.partial operator.attrgetter
importlib.import_module subprocess.Popen pickle.loads copyreg._reconstructor numpy.load numpy.ndarray torch.load
torch.hub.load torch.jit.load torch.serialization.load torch._tensor._rebuild_from_type_v2 torch.nn.functional.relu
torch.nn.modules.utils._pair torch.nn.modules.module.warnings torch.nn.modules.conv.Tensor
torch.nn.modules.module.torch.load torch.nn.init.normal_ torch.nn.parallel.DataParallel torch.nnx.modules.conv.Conv2d
ultralytics.nn.tasks.torch ultralytics.nn.tasks.torch_safe_load ultralytics.nn.tasks.check_requirements
ultralytics.nn.tasks.temporary_modules ultralytics.nn.tasks.Path ultralytics.nn.tasks.nn
ultralytics.nn.modules.conv.nn ultralytics.nn.modules.Nothing ultralytics.nn.tasks.SemanticSegmentationLoss
ultralytics.nn.text_model.CLIP ultralytics.nn.autobackend.AutoBackend ultralytics.utils.loss.torch
ultralytics.utils.loss.TaskAlignedAssigner ultralytics.utils.checks.check_requirements
ultralytics.utils.IterableSimpleNamespace.__init__ ultralytics.engine.model.Model ultralytics.nn.tasks_evil.Conv
torchvision.transforms.transforms.Lambda pathlib.Path.unlink kd_yolo.yolo.files.loading.load_checkpoint
"""
NAMES_REFUSED = _NAMES.split()


def calls(canary: Path) -> list[tuple[str, str, str]]:
    """Module, name and the text that the call is given."""
    arguments = {
        "touch": f"touch {canary}",
        "code": f"__import__('pathlib').Path({str(canary)!r}).touch()",
        "os": "os",
        "canary": str(canary),
    }
    rows = (line.split() for line in CALLS.splitlines() if line)
    return [(module, name, arguments[argument]) for module, name, argument in rows]


def text(value: str) -> bytes:
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def short(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def forms(module: str, name: str, argument: str) -> dict[str, bytes]:
    """The ways in which a pickle names and calls one function."""
    cls, arg = named(module, name), text(argument)
    stacked = short(module) + short(name) + b"\x93"
    return {
        "REDUCE": b"\x80\x02" + cls + arg + b"\x85R.",
        "STACK_GLOBAL": b"\x80\x04" + stacked + arg + b"\x85R.",
        "INST": b"(" + arg + f"i{module}\n{name}\n.".encode(),
        "OBJ": b"(" + cls + arg + b"o.",
        "NEWOBJ": b"\x80\x02" + cls + arg + b"\x85\x81.",
        "NEWOBJ_EX": b"\x80\x04" + stacked + arg + b"\x85}\x92.",
        "BUILD": b"\x80\x02" + cls + b")\x81}" + text("x") + arg + b"sb.",
        "memo": b"\x80\x02" + cls + b"q\x050h\x05" + arg + b"\x85R.",
        "in a dict": b"\x80\x02}" + text("model") + cls + arg + b"\x85Rs.",
        "after a value": b"\x80\x02}0" + cls + arg + b"\x85R.",
        "under DUP": b"\x80\x02" + cls + b"2" + arg + b"\x85R.",
        "named only": b"\x80\x02" + cls + b".",
    }


def attacks(command: str) -> dict[str, bytes]:
    """Pickles that call os.system, one for each way that pickle has of naming and calling."""
    named, cmd = b"cos\nsystem\n", text(command)
    stacked = short("os") + short("system") + b"\x93"
    return {
        "GLOBAL": named + cmd + b"\x85R.",
        "STACK_GLOBAL": b"\x80\x04" + stacked + cmd + b"\x85R.",
        "STACK_GLOBAL from the memo": b"\x80\x04" + short("system") + b"\x940" + short("os") + b"h\0\x93" + cmd
        + b"\x85R.",
        "STACK_GLOBAL with dots": b"\x80\x04" + short("ultralytics.nn.tasks") + short("torch.os.system") + b"\x93"
        + cmd + b"\x85R.",
        "INST": b"(" + cmd + b"ios\nsystem\n.",
        "OBJ": b"(" + named + cmd + b"o.",
        "in a dict": b"}" + text("model") + named + cmd + b"\x85Rs.",
        "through getattr": b"c__builtin__\ngetattr\n"
        + b"cos\n__dict__\n"
        + text("get")
        + b"\x86R"
        + text("system")
        + b"\x85R"
        + cmd
        + b"\x85R.",
        "python 2 name": b"c__builtin__\neval\n" + text(f"__import__('os').system({command!r})") + b"\x85R.",
    }  # fmt: skip


def chains(canary: Path) -> dict[str, bytes]:
    """Calls whose target is the result of another one, computed names, and what hides the end."""
    touch, cls = text(f"touch {canary}"), named("os", "system")
    get = named("builtins", "getattr")
    return {
        "getattr of an import": get + named("builtins", "__import__") + text("os") + b"\x85R" + text("system")
        + b"\x86R" + touch + b"\x85R.",
        "getattr of a class": get + named("torch.nn.modules.conv", "Conv2d") + text("__init__") + b"\x86R.",
        "globals of a layer": get + get + named("torch.nn.modules.conv", "Conv2d") + text("forward") + b"\x86R"
        + text("__globals__") + b"\x86R.",
        "a name in two halves": b"\x80\x04" + short("o") + short("s") + b"\x86" + short("system") + b"\x93" + touch
        + b"\x85R.",
        "EXT1": b"\x80\x02\x82\x01" + touch + b"\x85R.",
        "EXT4": b"\x80\x02\x84\x01\x00\x00\x00" + touch + b"\x85R.",
        "persistent": b"\x80\x02" + touch + b"Q.",
        "persistent text": b"Pos.system\n.",
        "no STOP": b"\x80\x02" + cls + touch + b"\x85R",
        "rubbish after the call": b"\x80\x02" + cls + touch + b"\x85R\xff\xff.",
        "a second pickle": b"\x80\x02N." + b"\x80\x02" + cls + touch + b"\x85R.",
        "a frame": b"\x80\x04\x95\x40\0\0\0\0\0\0\0" + short("os") + short("system") + b"\x93" + touch + b"\x85R.",
        "a class called": named("ultralytics.nn.tasks", "DetectionModel") + text("evil.yaml") + b"\x85R.",
        "a layer called": named("torch.nn.modules.linear", "Linear") + b"K\x09K\x09\x86R.",
        "a setstate": named("torch.nn.modules.linear", "Linear") + b")\x81" + cls + b"b.",
    }  # fmt: skip


def archive(pickled: bytes, name: str = "archive/data.pkl") -> bytes:
    """A torch archive around a pickle."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        file.writestr(name, pickled)
        file.writestr("archive/version", b"3\n")
    return target.getvalue()


def corpus(canary: Path) -> dict[str, bytes]:
    """Files by what they do: every call once, every form of one call, every chain; plain, as archive, and legacy."""
    found: dict[str, bytes] = {}
    kinds = list(forms("os", "system", ""))
    pickles = [
        (f"{kinds[i % len(kinds)]} {module}.{name}", forms(module, name, argument)[kinds[i % len(kinds)]])
        for i, (module, name, argument) in enumerate(calls(canary))
    ]
    pickles += [(f"{form} os.system", data) for form, data in forms("os", "system", f"touch {canary}").items()]
    for i, (what, data) in enumerate(chain(pickles, chains(canary).items())):
        found[f"archive: {what}"] = archive(data)
        if i % 3 == 0:
            found[f"plain: {what}"] = data
        if i % 3 == 1:
            parts = [MAGIC, pickle.dumps(1001, 2), pickle.dumps({}, 2), pickle.dumps({}, 2), pickle.dumps([], 2)]
            parts[1 + i % 4] = data
            found[f"legacy: {what}"] = b"".join(parts)
    return found


def is_pickle(data: bytes) -> bool:
    try:
        return list(pickletools.genops(data)) != []
    except ValueError:
        return False
