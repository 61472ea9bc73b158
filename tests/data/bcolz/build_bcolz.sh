#!/usr/bin/env bash
# Builds bcolz 1.2.1 with all its codecs, snappy too, from its source distribution: to write more
# folders for the tests. Nothing that is tested needs it.
#
#   tests/data/bcolz/build_bcolz.sh FOLDER     then use FOLDER/bin/python
#
# Needs Python 3.11 (PYTHON3 names another one), gcc and g++. bcolz is unmaintained: it wants NumPy
# below 1.24 and Cython below 3, and the C file that is in its distribution does not compile.
set -euo pipefail

folder=$(realpath -m "${1:?the folder of the new environment}")
"${PYTHON3:-python3}" -m venv --clear "$folder"
pip="$folder/bin/pip --disable-pip-version-check --quiet"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

$pip install 'setuptools<70' wheel 'cython<3' 'numpy==1.23.5' 'setuptools_scm<8'
$pip download --no-deps --no-build-isolation --no-binary :all: bcolz==1.2.1
tar xzf bcolz-1.2.1.tar.gz
rm bcolz-1.2.1/bcolz/carray_ext.c
DISABLE_BCOLZ_AVX2=1 SETUPTOOLS_SCM_PRETEND_VERSION=1.2.1 \
    $pip install --no-deps --no-build-isolation ./bcolz-1.2.1
"$folder/bin/python" -W ignore - <<'PYTHON'
import bcolz
import numpy as np

assert "snappy" in bcolz.blosc_compressor_list(), bcolz.blosc_compressor_list()
values = np.arange(100_000) // 7
array = bcolz.carray(values, cparams=bcolz.cparams(cname="snappy"))
assert (array[:] == values).all()
print("bcolz", bcolz.__version__, "with", ", ".join(bcolz.blosc_compressor_list()))
PYTHON
