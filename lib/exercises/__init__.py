"""Checks of the exercises: "right", or a hint that fits the mistake. One file per lesson.

With the learner's own function mutual_knn,

    from lib.exercises import encoders as checks
    checks.mutual_knn(mutual_knn)

prints "right: mutual_knn", or "open: ..." where the function is still a stub. A wrong answer raises
NotYet: with a hint, and with a fuller one where the same mistake is made again.
"""

import copy
import inspect

import numpy as np


class NotYet(AssertionError):
    """An answer that is not right yet; a notebook shows its hint, without a traceback."""

    def _render_traceback_(self):
        return [f"Not yet: {self}"]


class Exercise:
    """An exercise that is judged by a property of the answer.

    name        what the learner calls the answer
    judge       called with the answer; returns None, or a line to print, where it is right, and
                (key, hint, fuller hint) for the first thing that is wrong. An answer that can be
                called comes as a function that works on copies of its arguments; where it is a
                stub or stops with an error, the judging ends
    parameters  where the answer is a function: the names of its arguments, for a hint
    """

    def __init__(self, name, judge, parameters=()):
        self.name = name
        self.judge = judge
        self.parameters = parameters
        self.seen = set()  # keys of the mistakes that were made
        self.right = False  # whether the last answer was; nbgrader asks, as a stub raises nothing

    def __call__(self, answer):
        """Print one line where `answer` is right or a stub; raise NotYet where it is wrong."""
        self.right = False
        try:
            _stop_at_stub(answer)
            if callable(answer) or self.parameters:
                answer = self._guarded(answer)
            verdict = self.judge(answer)
        except NotImplementedError:
            print(f"open: write {self.name}, then run this cell again (it returns nothing yet)")
            return
        except _Stopped as stopped:
            verdict = stopped.args
        except Exception as error:
            hint = f"the check cannot use your answer: {type(error).__name__}: {error}."
            verdict = hint, hint, "Has it the type and the shape that the exercise asks for?"
        self.right = verdict is None or isinstance(verdict, str)
        if self.right:
            print(f"right: {self.name}. {verdict}" if verdict else f"right: {self.name}")
        else:
            key, hint, fuller = verdict
            made_before = key in self.seen
            self.seen.add(key)
            raise NotYet(f"{hint} {fuller}" if made_before else hint)

    def _guarded(self, function):
        def call(*arguments):
            arguments = copy.deepcopy(arguments)
            try:
                result = function(*arguments)
                _stop_at_stub(result)
            except NotImplementedError:
                raise
            except Exception as error:
                hint = f"your function stops with {type(error).__name__}: {error}."
                fuller = "Call it yourself with small arguments: Python then names the line."
                if isinstance(error, TypeError) and error.__traceback__.tb_next is None:
                    # it was not entered: the arguments do not fit its signature
                    hint = f"{self.name} should be a function of ({', '.join(self.parameters)})."
                    fuller = "They come in this order; you may give them other names."
                elif isinstance(error, IndexError | RuntimeError | ValueError):
                    fuller = "Print the shapes of its arguments first."
                raise _Stopped(hint, hint, fuller) from error
            return result

        return call


class FunctionExercise(Exercise):
    """An exercise whose answer is a function that should give what `solution` gives.

    cases     tuples of arguments
    solution  a right answer; its first parameters name the arguments
    mistakes  usual wrong answers, (function, hint, fuller hint); no two hints are alike
    """

    def __init__(self, name, cases, solution, mistakes):
        names = list(inspect.signature(solution).parameters)
        super().__init__(name, self._compare, names[: len(cases[0])])
        self.cases = cases
        self.solution = solution
        self.mistakes = mistakes

    def _compare(self, answer):
        yours = self._values(answer)
        right = self._values(self.solution)
        if all(map(_same, yours, right)):
            return None
        for wrong, hint, fuller in self.mistakes:
            if all(map(_same, yours, self._values(wrong))):
                return hint, hint, fuller
        return self._unknown(yours, right)

    def _values(self, function):
        return [np.asarray(function(*case), dtype=float) for case in self.cases]

    def _unknown(self, yours, right):
        """The verdict on values that no planted mistake gives."""
        for mine, wanted in zip(yours, right, strict=True):
            if mine.shape != wanted.shape:
                hint = f"the shape is {mine.shape}, it should be {wanted.shape}."
                return hint, hint, "Follow the shapes from the first line to the last."
        if not all(np.isfinite(mine).all() for mine in yours):
            hint = "some values are NaN or infinite."
            return hint, hint, "Look for a division by zero, or the logarithm of a number <= 0."
        wrong = [i for i in range(len(right)) if not _same(yours[i], right[i])]
        smallest = min(wrong, key=lambda i: sum(map(np.size, self.cases[i])))
        arguments = [
            f"{name} = {value}" for name, value in zip(self.parameters, self.cases[smallest])
        ]
        given = f", {', '.join(arguments)}," if all(map(np.isscalar, self.cases[smallest])) else ""
        values = _contrast(yours[smallest], right[smallest])
        hint = f"in the smallest wrong case{given} {values}."
        place = f"checks.{self.name}.cases[{smallest}]"
        return hint, hint, f"The arguments of this case are {place}: go through it step by step."


class _Stopped(Exception):
    """The learner's function stopped; the arguments are the verdict."""


def _stop_at_stub(value):
    if value is None or value is Ellipsis:
        raise NotImplementedError


def _close(left, right):
    return np.isclose(left, right, rtol=1e-6, atol=1e-9)


def _same(left, right):
    return left.shape == right.shape and bool(_close(left, right).all())


def _contrast(yours, right):
    """Both numbers, or of both arrays the first entries that differ."""
    differs = ~_close(yours, right)
    shown = [" ".join(f"{v:.7g}" for v in values[differs][:4]) for values in (yours, right)]
    note = f" (the first entries that differ; the shape is {right.shape})" if right.ndim else ""
    return f"yours gives {shown[0]}, right is {shown[1]}{note}"
