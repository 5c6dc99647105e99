from __future__ import annotations

from marketpipe.storage.domain.integrity import CheckedFile, IntegrityProblem, IntegrityReport


class IntegrityTally:
    def __init__(self) -> None:
        self.files, self.size_bytes, self.doubted = 0, 0, 0
        self.problems: list[IntegrityProblem] = []
        self.extra: list[str] = []

    def add(self, file: CheckedFile, problem: IntegrityProblem | None) -> None:
        self.files += 1
        self.size_bytes += file.size_bytes
        if problem is not None:
            self.problems.append(problem)

    def add_problem(self, problem: IntegrityProblem) -> None:
        self.problems.append(problem)

    def report(self) -> IntegrityReport:
        return IntegrityReport(self.files, self.size_bytes, tuple(self.problems), tuple(self.extra), self.doubted)
