"""Known weaknesses: of the code, by bandit; of the packages that are pinned, by pip-audit where its data can be had.

`make audit` runs it. What is found and not excepted below ends it with 1, and so does an exception that is not needed.
"""
import json, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CODE = ("metapt_nb", "bench", "tests", "nbs/site", "nbs/app", "setup.py")
PATIENCE = 120 # seconds for the service that knows the weaknesses of packages

NOT_ASKED = { # bandit's tests, and why they say nothing here
    "B101": "tests are assertions, and none guards anything in the package",
    "B404": "commands are run: git, fonts, the library's own workers",
    "B603": "each is a list of words, never a line for a shell",
    "B607": "and found where the user's own would be"}
REVISION = "the user's own model, folder or data, in the version that its name stands for"
EXCEPTIONS = { # (file, bandit's test) -> why it stays
    ("metapt_nb/annotate.py", "B615"): REVISION, ("metapt_nb/backbone.py", "B615"): REVISION,
    ("metapt_nb/documents.py", "B615"): REVISION, ("metapt_nb/hub.py", "B615"): "the revision is passed through",
    ("metapt_nb/smollm.py", "B615"): "a file of a pinned package; nothing is fetched",
    ("metapt_nb/backbone.py", "B106"): "a token of a vocabulary",
    ("metapt_nb/cluster.py", "B106"): "the pattern of a word",
    ("metapt_nb/exchange.py", "B403"): "for the name of the error that torch's reader of weights raises",
    ("metapt_nb/files.py", "B202"): "a wheel whose digest is known; zipfile keeps members in their folder",
    ("metapt_nb/verdicts.py", "B610"): "a table of a run, not a data base",
    ("tests/lab.py", "B310"): "the test's own server", ("tests/test_browser.py", "B310"): "likewise",
    ("tests/test_faults.py", "B614"): "the test's own checkpoint",
    ("tests/test_hostile.py", "B403"): "makes what must not be opened",
    ("tests/test_hostile.py", "B301"): "shows that the trap would snap",
    ("tests/test_site.py", "B602"): "a line of make's"}
VULNERABLE = {} # advisory -> why it does not reach this project


def module(name, *words, **how):
    "A module of this Python as a command, what it wrote read as JSON."
    done = subprocess.run([sys.executable, "-m", name, *words], cwd=ROOT, capture_output=True, text=True, **how)
    if not done.stdout.strip(): raise SystemExit(f"{name}: {done.stderr.strip() or 'said nothing'}")
    return json.loads(done.stdout)


def code_findings():
    "What bandit says, a line for each finding without an exception, and for each exception without a finding."
    told = module("bandit", "-q", "-r", *CODE, "-s", ",".join(NOT_ASKED), "-f", "json")
    if told["errors"]: return [f"{one['filename']}: {one['reason']}" for one in told["errors"]]
    found = {(one["filename"].removeprefix("./"), one["test_id"]): one for one in told["results"]}
    new = [
        f"{file}:{one['line_number']}: {test} {one['issue_text']}"
        for (file, test), one in found.items() if (file, test) not in EXCEPTIONS]
    stale = [f"tests/audit.py: no {test} in {file} any more" for file, test in EXCEPTIONS if (file, test) not in found]
    return new + stale


def package_findings():
    "The same of the pins, and how many of them were looked up."
    pins = "-r", "constraints.txt", "--no-deps", "--disable-pip", "--progress-spinner", "off", "-f", "json"
    try: pinned = module("pip_audit", *pins, timeout=PATIENCE)["dependencies"]
    except (subprocess.TimeoutExpired, SystemExit) as e:
        return [], f"packages: no weaknesses looked up, the service that knows them is out of reach ({str(e)[-80:]})"
    asked = [one for one in pinned if "vulns" in one]
    found = [
        f"{one['name']} {one['version']}: {weak['id']}, mended in {', '.join(weak['fix_versions']) or 'no version'}"
        for one in asked for weak in one["vulns"] if weak["id"] not in VULNERABLE]
    silence = "" if asked else ": the service that knows their weaknesses does not answer here"
    return found, f"packages: {len(asked)} of {len(pinned)} pins looked up, {len(VULNERABLE)} excepted{silence}"


def main():
    code = code_findings()
    packages, told = package_findings()
    print(f"code: {len(EXCEPTIONS)} exceptions, each with its reason in tests/audit.py")
    print(told)
    for finding in (*code, *packages): print(finding)
    return bool(code or packages)


if __name__ == "__main__": sys.exit(main())
