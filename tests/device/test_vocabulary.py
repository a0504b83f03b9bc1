"""cuda.h has exactly those words of CUDA that some kernel uses, and common.cuh nothing that no kernel uses."""

import re

import pytest

from minisrgan.device.source import FOLDER

REPOSITORY = FOLDER.parent
FOLDERS = (REPOSITORY / "kernels", REPOSITORY / "lessons", REPOSITORY / "tests" / "kernel_bugs")
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
DEFINED = (  # at the margin: macros, structs, constants; functions, after their type and other words
    r"^#define (\w+)",
    r"^(?:template <.*>\n)?struct (?:\w+\([^)]*\) |__attribute__\(\(.*?\)\) )?(\w+)",
    r"^constexpr \w+ (\w+)",
    r"^(?:\[\[noreturn\]\] )?(?:(?:static|inline|__device__|__forceinline__) )*"
    r"(?:void|int|unsigned|float|double|auto|[TI]) \**(\w+)\(",
)
METHOD = r"^    (?:(?:static|friend|__device__|__forceinline__) )+(?:void|Vec|real) (\w+)\("
OWN = re.compile(r"cuda_|Cuda|CUDA_|EXPORT_KERNEL$")  # what cuda.h has for itself and for the library


def code(path):
    return STRING.sub('""', COMMENT.sub("", path.read_text()))


def definitions(path, *more):
    """The names that a header defines, as often as it defines them."""
    names = [name for pattern in (*DEFINED, *more) for name in re.findall(pattern, code(path), re.MULTILINE)]
    return [name for name in names if not OWN.match(name)]


def uses(name, text):
    return len(re.findall(rf"\b{name}\b", text))


def unused(names, *leaving_out):
    """Those of the names that no kernel or header has."""
    paths = [path for folder in FOLDERS for pattern in ("*.cu", "*.cuh") for path in folder.rglob(pattern)]
    texts = [code(path) for path in paths if path not in leaving_out]
    return {name for name in names if not any(uses(name, text) for text in texts)}


def test_each_word_of_cuda_h_is_in_some_kernel():
    words = definitions(FOLDER / "cpu" / "cuda.h")
    assert {"threadIdx", "__syncthreads", "__shfl_xor_sync", "atomicAdd", "min", "uint3", "__trap"} <= set(words)
    assert unused(words) == set()


def test_each_word_of_common_cuh_is_in_some_kernel_or_in_another_of_its_words():
    header = FOLDER / "common.cuh"
    words = definitions(header, METHOD)
    assert {"FOR_EACH", "REQUIRE", "copy_async", "LANES", "Vec", "SixteenBytes", "load_edge", "fma"} <= set(words)
    assert {name for name in unused(words, header) if uses(name, code(header)) <= words.count(name)} == set()


@pytest.mark.parametrize(
    "addition",
    [
        "inline int __popc(unsigned x) { return 0; }",
        "#define __ldg(x) (*(x))",
        "struct float2 {\n};",
        "template <class T>\nT __shfl_sync(unsigned mask, T value, int source) {}",
    ],
)
def test_a_word_that_no_kernel_uses_is_found(addition, tmp_path):
    header = tmp_path / "cuda.h"
    header.write_text((FOLDER / "cpu" / "cuda.h").read_text() + "\n" + addition + "\n")
    assert len(unused(definitions(header))) == 1


def test_a_method_that_no_kernel_uses_is_found(tmp_path):
    header = tmp_path / "common.cuh"
    header.write_text("struct Vec {\n    __device__ __forceinline__ real product() const { return 1; }\n};\n")
    assert unused(definitions(header, METHOD)) == {"product"}
