"""The judge is not blind: what it has to notice, it notices."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent / "interop")]
from combinations import Combination  # noqa: E402
from suite import Results, checks  # noqa: E402
from verdict import Impossible, Verdict, judge  # noqa: E402

MIXED = Combination("http", "python", "2026-07-28", "legacy")
ALONE: Results = {"scenario": {("one", "One"): ("SUCCESS", ""), ("two", "Two"): ("SUCCESS", "")}}


def judged(through: Results, *excuses: Impossible, combination: Combination = MIXED) -> Verdict:
    verdict = Verdict(combination)
    judge(verdict, ["scenario"], ALONE, through, list(excuses))
    return verdict


def result(status: str) -> Results:
    return {"scenario": {("one", "One"): ("SUCCESS", ""), ("two", "Two"): (status, "why")}}


def excuse(check: str) -> Impossible:
    return Impossible("*/*/2026-07-28/legacy", "scenario", check, "It MUST NOT.", "A page")


class Judging(unittest.TestCase):
    def test_what_passes_alone_and_through_the_gateway_is_ok(self) -> None:
        verdict = judged(ALONE)
        self.assertTrue(verdict.ok)
        self.assertEqual((verdict.passed, verdict.required, verdict.alone), (1, 1, 2))

    def test_a_check_that_fails_warns_or_is_skipped_only_through_the_gateway_is_short(self) -> None:
        for status in ("FAILURE", "WARNING", "SKIPPED", "INFO"):
            verdict = judged(result(status))
            self.assertFalse(verdict.ok, status)
            self.assertEqual(verdict.checks, [f"scenario: two (Two): {status}: why"])

    def test_a_check_that_is_never_reached_is_short(self) -> None:
        self.assertFalse(judged({"scenario": {("one", "One"): ("SUCCESS", "")}}).ok)

    def test_a_scenario_that_did_not_run_is_short(self) -> None:
        self.assertEqual(judged({}).short, ["scenario"])

    def test_a_check_that_only_the_gateway_fails_is_short(self) -> None:
        self.assertFalse(judged({"scenario": {**ALONE["scenario"], ("three", "Three"): ("FAILURE", "")}}).ok)

    def test_what_is_impossible_is_excused(self) -> None:
        verdict = judged(result("FAILURE"), excuse("two"))
        self.assertTrue(verdict.ok)
        self.assertEqual(verdict.excused, ["scenario: two"])

    def test_what_is_impossible_and_passes_is_an_error(self) -> None:
        self.assertEqual(judged(ALONE, excuse("two")).stale, ["scenario: two"])

    def test_nothing_is_excused_in_a_pure_pair(self) -> None:
        pure = Combination("http", "python", "2026-07-28", "both")
        self.assertFalse(judged(result("FAILURE"), excuse("two"), combination=pure).ok)

    def test_a_fixture_that_is_short_alone_is_an_error(self) -> None:
        verdict = Verdict(MIXED)
        judge(verdict, ["scenario"], result("FAILURE"), ALONE, [])
        self.assertEqual(verdict.wrong, ["scenario: the fixture alone does not pass it"])

    def test_of_several_results_of_one_check_the_worst_counts(self) -> None:
        reported = [{"id": "a", "name": "A", "status": status} for status in ("SUCCESS", "FAILURE", "SUCCESS")]
        self.assertEqual(checks(reported)[("a", "A")][0], "FAILURE")


if __name__ == "__main__":
    unittest.main()
