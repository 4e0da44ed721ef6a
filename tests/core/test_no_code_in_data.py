"""What could run code that comes as data, or hand a user's string to a shell, stands nowhere in the package."""

import ast
from pathlib import Path

import pipeline

PACKAGE = Path(pipeline.__file__).parent
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "marshal", "shelve", "joblib", "cloudpickle"}
FORBIDDEN_CALLS = {"eval", "exec", "os.system", "os.popen", "yaml.load", "pickle.load", "pickle.loads"}


def findings(tree: ast.AST):
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (item.name for item in names if item.name.split(".")[0] in FORBIDDEN_MODULES)
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in FORBIDDEN_MODULES:
                yield module
            case ast.Call(func=func, keywords=keywords):
                given = {item.arg: ast.unparse(item.value) for item in keywords}
                name = ast.unparse(func)
                if name in FORBIDDEN_CALLS or given.get("shell") == "True" or given.get("allow_pickle") == "True":
                    yield ast.unparse(node)
                if name == "torch.load" and given.get("weights_only") != "True":
                    yield ast.unparse(node)


def test_nothing_unpickles_evaluates_or_uses_a_shell():
    sources = sorted(PACKAGE.rglob("*.py"))
    assert len(sources) > 100
    found = {path.name: list(findings(ast.parse(path.read_text(encoding="utf-8")))) for path in sources}
    # A package's tokenizer is a pickle whose one allowed global is tiktoken's Encoding; it is read with that one alone.
    assert {name: lines for name, lines in found.items() if lines} == {"tokenizers.py": ["pickle"]}


def test_the_search_finds_what_it_looks_for():
    calls = ("eval(x)", "run(a, shell=True)", "torch.load(p)", "np.load(p, allow_pickle=True)")
    bad = "\n".join(("import pickle", "from marshal import loads", *calls))
    assert len(list(findings(ast.parse(bad)))) == 6
