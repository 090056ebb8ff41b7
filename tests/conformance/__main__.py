"""openai-python's own API suite, straight to a mock server and through the gateway: `python -m tests.conformance`.

Exit code 0: every test that passes without the gateway passes through it. 1: some do not; they are listed. 2: something
that the run needs is missing.
"""

import argparse
import sys
from pathlib import Path

from tests.conformance.run import gateway, mock_server, run_suite
from tests.conformance.suite import Missing, fetch, fetch_description


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__.splitlines()[0])
    parser.add_argument("--spec", type=Path, help="an OpenAPI description instead of the crate's")
    parser.add_argument("--jobs", type=int, default=2, help="test processes")
    arguments = parser.parse_args()
    try:
        fetch()
        description = arguments.spec.resolve() if arguments.spec else fetch_description()
    except Missing as error:
        print(error, file=sys.stderr)
        return 2
    with mock_server(description) as upstream:
        direct = run_suite("direct", upstream, arguments.jobs)
        print(f"direct:  {direct}", flush=True)
        with gateway(upstream) as address:
            through = run_suite("through", address, arguments.jobs)
    print(f"through: {through}")
    lost, won = sorted(direct.passed - through.passed), sorted(through.passed - direct.passed)
    for name in lost:
        print(f"  lost: {name}")
    print(f"{len(lost)} lost, {len(won)} won")
    return 1 if lost or not direct.passed else 0


if __name__ == "__main__":
    sys.exit(main())
