"""The UniFFI face in other languages: generates their code, finds or installs their tools, compiles and starts Kotlin programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "interop"))
import install  # noqa: E402

LIBRARY = "libmcp_registry_gateway_ffi.so" if sys.platform == "linux" else "libmcp_registry_gateway_ffi.dylib"
JNA = Path("/usr/share/java/jna.jar")


def run(*command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def debian(*packages: str) -> bool:
    """Installs packages of Debian's, where that is possible."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return False
    command = ["install", "--quiet", "--yes", "--no-install-recommends", *packages]
    here = {"folder": HERE}
    return any(run("apt-get", *first, **here).returncode == 0 and run("apt-get", *command, **here).returncode == 0 for first in (["check"], ["update"]))


def generate(out: Path, languages: tuple[str, ...], *built: str) -> None:
    """Builds the library, as the arguments of cargo say, and has the code of each language written into a folder of its own in `out`."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    install.cargo(*built)
    shutil.copy(install.TARGET / "debug" / LIBRARY, out)
    command = ["cargo", "run", "--quiet", "--locked", "--manifest-path", str(ROOT / "ffi/bindgen/Cargo.toml"), "--", "generate"]
    for language in languages:
        place = out / language
        subprocess.run([*command, "--no-format", "--language", language, "--out-dir", str(place), str(out / LIBRARY)], cwd=ROOT, check=True)
        shutil.copy(out / LIBRARY, place)


def kotlin_is_here() -> bool:
    """Whether Kotlin programs can be compiled and started, once what can be installed is."""
    return bool(shutil.which("java")) and (JNA.exists() or debian("libjna-java"))


def kotlin(out: Path, program: Path) -> list[str] | subprocess.CompletedProcess[str]:
    """The command that starts `program`, compiled with the code in `out`; or how compiling failed."""
    library = install.node(HERE, ()) / "node_modules" / "kotlin-compiler" / "lib"
    runtime = [JNA, library / "kotlin-stdlib.jar", library / "kotlinx-coroutines-core-jvm.jar"]
    # Compiling takes long: once for each text, the generated one apart from the programs.
    generated = compiled("kotlin-face", sorted((out / "kotlin").rglob("*.kt")), library, runtime)
    if isinstance(generated, subprocess.CompletedProcess):
        return generated
    own = compiled(f"kotlin-{program.parent.name}", [program], library, [generated, *runtime])
    if isinstance(own, subprocess.CompletedProcess):
        return own
    return ["java", f"-Djna.library.path={out}", "-cp", joined([own, generated, *runtime]), f"{program.stem.capitalize()}Kt"]


def compiled(name: str, sources: list[Path], library: Path, path: list[Path]) -> Path | subprocess.CompletedProcess[str]:
    # A folder above is named after what it holds, so that a program is compiled anew when the generated code is.
    above = [place / ".complete" for place in path if place.is_dir()]
    folder, stamp = install.fresh(name, [*sources, HERE / "package-lock.json", *above])
    if not stamp.exists():
        compiler = ["java", "-cp", str(library / "kotlin-compiler.jar"), "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"]
        options = ["-nowarn", "-no-stdlib", "-no-reflect", "-classpath", joined(path), "-d", str(folder)]
        done = run(*compiler, *options, *map(str, sources), folder=folder, CLASSPATH=str(library))
        if done.returncode != 0:
            return done
        stamp.write_text(folder.name)
    return folder


def joined(path: list[Path]) -> str:
    return os.pathsep.join(map(str, path))
