"""Which files a command names: real commands of real software, one per line."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescalefs.submit.commandline import Use, may_execute, named, sure

# The command, and what has to be there before it starts.
WAITED_FOR = {
    "python solve.py mesh.msh": "solve.py mesh.msh",
    "python3.11 -u solve.py": "solve.py",
    "python -W ignore solve.py": "solve.py",
    "pip install -q numpy && python solve.py": "solve.py",
    "python solve.py > out.log 2>&1": "solve.py",
    "python solve.py -o result.csv": "solve.py",
    "python solve.py --out result.csv | tee log.txt": "solve.py",
    "python solve.py --mesh=wing.msh --output=wing.vtk": "solve.py wing.msh",
    "python plot.py out.png": "plot.py",
    "python solve.py results.csv": "solve.py",
    "python mesh.py wing.msh && solver wing.msh": "mesh.py",
    "python a.py && python b.py": "a.py b.py",
    "python solve.py a.cfg b.cfg": "solve.py a.cfg",
    "./run.sh": "run.sh",
    "./Allrun": "Allrun",
    "bash Allrun": "Allrun",
    "bash -x run.sh": "run.sh",
    "bash -eo pipefail run.sh": "run.sh",
    "sh -c 'cat mesh.msh'": "",
    "bash -lc 'python solve.py'": "",
    "chmod +x run.sh && ./run.sh": "run.sh",
    "chmod +x *.sh; ./run.sh in.cfg": "run.sh in.cfg",
    "set -e; source env.sh; ./solver": "env.sh solver",
    ". ./env.sh": "env.sh",
    "source /opt/openfoam/etc/bashrc && blockMesh && simpleFoam": "",
    "source activate cfd && python solve.py": "solve.py",
    "cd case && ./Allrun": "case/Allrun",
    "cd case || exit 1\n./Allrun\n": "case/Allrun",
    "cd $RESCALE_WORK && ./Allrun": "",
    "mkdir -p run && cd run && python ../solve.py": "solve.py",
    "cat mesh.msh > copy": "mesh.msh",
    "cat mesh.msh | wc -l": "mesh.msh",
    "wc -l < in.txt > lines.txt": "in.txt",
    "sort numbers.txt > sorted.txt": "numbers.txt",
    "./solver < in.txt | tee log.txt": "solver in.txt",
    "mpirun -np 4 ./solver in.nml": "solver in.nml",
    "mpirun -np $(nproc) ./solver in.nml": "solver in.nml",
    "mpirun -np $RESCALE_CORES_PER_SLOT --hostfile hosts SU2_CFD turb.cfg": "turb.cfg",
    "mpiexec -n 8 python solve.py": "solve.py",
    "time -p timeout 2h nice -n 5 ./solver": "solver",
    "OMP_NUM_THREADS=4 ./solver": "solver",
    "export OMP_NUM_THREADS=4; python solve.py": "solve.py",
    "abaqus job=wing input=wing.inp cpus=4 interactive": "wing.inp",
    "abaqus job=wing interactive": "",
    "starccm+ -power -batch run.java -np 4 wing.sim": "run.java wing.sim",
    "fluent 3ddp -t8 -g -i run.jou > fluent.log 2>&1": "run.jou",
    "ansys212 -b -np 4 -i in.dat -o out.out": "in.dat",
    "lmp -in in.lammps": "in.lammps",
    "lmp < in.lj": "in.lj",
    "ls-dyna i=main.k memory=200m ncpu=4": "main.k",
    "nastran wing.bdf scr=yes old=no": "wing.bdf",
    "g16 < water.com > water.log": "water.com",
    "g16 water.com": "water.com",
    "cp2k.popt -i water.inp -o water.out": "water.inp",
    "ccx_2.19 -i beam": "",
    "simpleFoam -case wing": "",
    "blockMesh; decomposePar; mpirun -np 4 simpleFoam -parallel; python post.py": "post.py",
    "foamDictionary -entry startTime system/controlDict": "",
    "matlab -batch \"run('solve.m')\"": "",
    "Rscript --vanilla fit.R data.csv": "fit.R data.csv",
    "julia --project=. -t 4 main.jl": "main.jl",
    "octave --eval 'x = 1'": "",
    "java -jar solver.jar case.xml": "solver.jar case.xml",
    "java com.example.Main": "",
    "gmsh -3 wing.geo -o wing.msh": "wing.geo",
    "gmsh -3 wing.geo -o wing.msh && solver wing.msh": "wing.geo",
    "unzip data.zip && python solve.py data/mesh.msh": "data.zip",
    "tar xzf case.tar.gz && cd case && ./Allrun": "case.tar.gz",
    "tar czf out.tar.gz results": "",
    "git clone https://example.com/x.git . && python solve.py": "",
    "wget https://example.com/mesh.msh; ./solver mesh.msh": "",
    "cp /opt/cases/cavity.cfg . && solver cavity.cfg": "",
    "cp case.cfg run.cfg && solver run.cfg": "case.cfg",
    "make && ./solver in.nml": "",
    "gcc solver.c -o solver && ./solver": "solver.c",
    "echo 'a b' > in.txt && cat in.txt": "",
    "cat << EOF > in.txt\nmesh wing.msh\nEOF\n./solver in.txt": "solver",
    "if [ -f restart.cfg ]; then ./solver restart.cfg; else ./solver start.cfg; fi": "",
    "for f in *.inp; do python solve.py $f; done": "solve.py",
    "python -c 'import numpy; print(numpy.__version__)'": "",
    "python -m pytest tests.py": "",
    "python -m solver.run": "",
    "python /opt/solve.py": "",
    "python $SCRIPT": "",
    "solver 1.e5 0.5 4.8.4": "",
    "echo done > out.txt": "",
    "echo hello; sleep 5; date": "",
    "ls result.csv": "",
    "touch done.txt": "",
    "rm -f old.cfg": "",
    "sed -i s/a/b/ case.cfg": "",
    "solver 'my case.cfg'": "my case.cfg",
    "echo 'unclosed": "",
    "# a comment: python old.py\npython solve.py # then plot.py": "solve.py",
    "python solve.py \\\n  mesh.msh\r\n": "solve.py mesh.msh",
    "sort -o sorted.txt numbers.txt": "numbers.txt",
    "diff <(sort a.txt) <(sort b.txt)": "",
    "for ((i = 0; i < n; i++)); do ./step.sh $i; done": "",
    "python - << EOF\nopen('x.txt')\nEOF": "",
    "$PYTHON solve.py": "solve.py",
    "singularity exec image.sif python solve.py": "image.sif",
    # What an earlier part makes, programs too.
    "python -m venv env && env/bin/pip install -r list.txt && env/bin/python solve.py": "",
    "python3 -m venv venv; source venv/bin/activate; python solve.py": "solve.py",
    "gfortran -O3 main.f90 && ./a.out < in.txt": "",
    "bash build.sh && mpirun -np 4 ./solver": "build.sh",
    "cp -r src/case work && cd work && ./Allrun": "",
    "cp -r input/. . && python solve.py": "",
    "snakemake --cores 8 all.done": "",
    "python make_mesh.py wing.msh && solver wing.msh": "make_mesh.py",
    # What follows the value of an option that nothing is known of, or `-i`.
    "python convert.py --binary wing.stl wing.msh": "convert.py",
    "ffmpeg -i in.mov frame.tiff": "in.mov",
    "R CMD BATCH --no-save fit.R fit.Rout": "",
    "python train.py --model resnet50.a1_in1k": "train.py",
    "python main.py db.host=local.host +experiment=test.v1": "main.py",
    "tar -C . --use-compress-program=pigz -xf case.tgz && ./Allrun": "case.tgz",
    # What may fail.
    "source setup.sh 2> /dev/null || true; python solve.py": "solve.py",
    "cat restart.txt || echo none; python solve.py": "solve.py",
    "mv old.txt older.txt 2>/dev/null; ./solver": "solver",
    "./solver in.cfg || exit 1": "solver in.cfg",
    "cp case.cfg run.cfg 2>&1 && solver run.cfg": "case.cfg",
    # Where it runs.
    "(cd one && ./Allrun) & (cd two && ./Allrun) & wait": "one/Allrun",
    "(cd one && python ../a.py); python b.py": "a.py b.py",
    "cd one && python ../a.py && cd - && python b.py": "a.py",
    "mpirun -np 4 -wdir run ./solver in.cfg": "",
    "mpirun --mca btl self,tcp -np 4 pw.x -in scf.in": "scf.in",
    "case x in\n a) ./a.sh;;\nesac; python b.py": "",
    "true": "",
    ":": "",
    "": "",
}  # fmt: skip


@pytest.mark.parametrize("command", WAITED_FOR)
def test_a_command_names_the_files_it_cannot_start_without(command: str) -> None:
    wanted = {"my case.cfg"} if "my case.cfg" in command else set(WAITED_FOR[command].split())
    assert {each.path for each in sure(named(command))} == wanted


def uses(command: str) -> dict[str, Use]:
    return {each.path: each.use for each in named(command)}


def test_what_is_run_by_a_shell_is_told_from_what_runs_itself_and_what_is_read() -> None:
    command = "source env.sh; ./run.sh in.cfg more.csv; bash post.sh; python plot.py; pick -f some.dat"
    assert uses(command) == {
        "env.sh": Use.SHELL,
        "run.sh": Use.RUN,
        "in.cfg": Use.READ,
        "more.csv": Use.PERHAPS,
        "post.sh": Use.SHELL,
        "plot.py": Use.READ,
        "some.dat": Use.PERHAPS,
    }


def test_what_a_command_writes_is_not_named() -> None:
    assert uses("solver -o a.csv --log=b.txt > c.dat && cat a.csv b.txt c.dat | tee d.csv && wc d.csv") == {}


def test_what_an_analysis_before_or_a_template_makes_is_not_waited_for() -> None:
    assert [each.path for each in sure(named("python post.py fields.csv", is_first=False))] == ["post.py"]
    assert [each.path for each in sure(named("solver < case.cfg", made=["case.cfg"]))] == []


def test_a_command_that_sets_permissions_is_known() -> None:
    assert may_execute("chmod +x run.sh && ./run.sh")
    assert not may_execute("./run.sh chmod")


@given(st.text(alphabet="abc./$'\"\\|&;<>()#*=-~ \n\r{}[]`!0é", max_size=60))
def test_no_command_is_too_strange_to_be_read(command: str) -> None:
    for each in named(command):
        assert not each.path.startswith(("/", "../"))


@pytest.mark.parametrize(
    "command", ["a; " * 100_000, "<<X\n" * 4000, "x=" * 8000, "(" * 16_000, "a.b " * 4000]
)
def test_a_long_command_takes_no_long_time(command: str) -> None:
    begun = time.process_time()
    named(command)
    assert time.process_time() - begun < 5.0  # some hundredths, on an idle machine
