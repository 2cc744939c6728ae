"""The conformance kit: what every method must do, ours or a user's.

>>> from equimodal.methods.joint import Joint
>>> from equimodal.testing import check_method
>>> check_method(Joint)  # raises AssertionError with the reason where a check fails

With pytest, one test per check::

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_my_method(check):
        check(MyMethod)
"""

from equimodal.testing.conformance import CHECKS, check_method
from equimodal.testing.problems import Problem, tiny_problem

__all__ = ["CHECKS", "Problem", "check_method", "tiny_problem"]
