"""Laws of threads: BLAS has one inside and its own outside, and work keeps its order."""

import importlib.util
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

from softreg._estimators.posing import in_one_thread
from softreg._rows import threads
from softreg._rows.threads import Threads

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")


def blas_libraries():
    """Every BLAS of the process, free to be limited.

    Since threadpoolctl 3.8 the first Python thread to limit an OpenBLAS keeps all others from it.
    """
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    for library in libraries:
        getattr(library, "clear_controlling_thread", lambda force: None)(force=True)
    return libraries


def blas_threads():
    """What each BLAS is allowed now."""
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


@pytest.fixture
def two_allowed():
    """BLAS allowed two threads, also on a machine that has one processor."""
    before = [library.num_threads for library in blas_libraries()]
    for library in blas_libraries():
        library.set_num_threads(2)
    blas_libraries()
    assert blas_threads() == {2}
    yield
    for library, number in zip(blas_libraries(), before, strict=True):
        library.set_num_threads(number)
    blas_libraries()


def test_functions_in_one_thread_leave_blas_as_it_was(two_allowed):
    """BLAS has one thread inside, and what it had before afterwards, whatever is raised."""
    assert in_one_thread(blas_threads)() == {1}
    with pytest.raises(ZeroDivisionError):
        in_one_thread(divmod)(1, 0)
    assert blas_threads() == {2}


def test_blas_has_one_thread_inside_and_its_own_outside(two_allowed):
    """Threads hold BLAS to one thread until they are left, also when an error leaves them."""
    with Threads(2):
        assert blas_threads() == {1}
    assert blas_threads() == {2}
    with pytest.raises(ZeroDivisionError), Threads(2) as threads:
        threads.map(lambda item: 1 / item, [1, 0])
    assert blas_threads() == {2}


def test_nested_threads_give_blas_back_only_at_the_end(two_allowed):
    """The outermost exit restores BLAS; the inner ones leave it held."""
    with Threads():
        with Threads():
            assert blas_threads() == {1}
        assert blas_threads() == {1}
    assert blas_threads() == {2}


def test_overlapping_threads_give_blas_back_when_the_last_leaves(two_allowed):
    """Two fits at once, the first to enter leaving first: BLAS is held until both are done."""
    one, both, left = threading.Event(), threading.Event(), threading.Event()

    def first():
        with Threads(1):
            one.set()
            assert both.wait(10)
        left.set()

    def second():
        assert one.wait(10)
        with Threads(1):
            both.set()
            assert left.wait(10)
            return blas_threads()

    with ThreadPoolExecutor(2) as pool:  # whose threads live on after a fit
        done, seen = pool.submit(first), pool.submit(second)
        assert (done.result(20), seen.result(20)) == (None, {1})
        assert blas_threads() == {2}


def test_threads_hold_blas_in_whichever_python_thread_they_are_entered(two_allowed):
    """A fit in another Python thread holds and restores BLAS, whoever limited it before."""

    def inside():
        with Threads(1):
            return blas_threads()

    with ThreadPoolExecutor(1) as pool:
        assert inside() == pool.submit(inside).result(20) == inside() == {1}
        with threadpool_limits(2, user_api="blas"):
            assert pool.submit(inside).result(20) == {1}
            assert blas_threads() == {2}
    assert blas_threads() == {2}


def test_threads_leave_blas_free_for_others_to_limit(two_allowed):
    """After a fit here, `threadpool_limits` works in other Python threads as it did before."""

    def limited():
        with threadpool_limits(1, user_api="blas"):
            return blas_threads()

    with ThreadPoolExecutor(1) as pool:
        with Threads(1):
            pass
        assert pool.submit(limited).result(20) == {1}
    assert blas_threads() == {2}


def test_the_first_fits_of_a_process_may_start_together(two_allowed):
    """Two Python threads that enter at once, when nobody has before, restore BLAS all the same."""
    source = importlib.util.find_spec("softreg._rows.threads")
    for _ in range(10):
        module = importlib.util.module_from_spec(source)
        source.loader.exec_module(module)
        together = threading.Barrier(2, timeout=10)

        def inside(module=module, together=together):
            together.wait()
            with module.Threads(1):
                together.wait()
                return blas_threads()

        with ThreadPoolExecutor(2) as pool:
            seen = [pool.submit(inside) for _ in range(2)]
            assert [fit.result(20) for fit in seen] == [{1}, {1}]
        assert blas_threads() == {2}


def test_threads_are_as_many_as_blas_was_allowed(two_allowed):
    """n_jobs = None takes what BLAS had, which inside another fit is one; a number is that many."""
    with Threads() as outer, Threads() as inner, Threads(3) as three:
        assert (outer.count, inner.count, three.count) == (2, 1, 3)


@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_map_keeps_the_order_and_shares_the_work(n_jobs):
    """Results come in the order of the items, computed by as many threads at once."""
    together, workers = threading.Barrier(n_jobs, timeout=10), set()

    def work(item):
        together.wait()  # would time out if fewer threads ran at once
        workers.add(threading.get_ident())
        return item**2

    before = threading.active_count()
    with Threads(n_jobs) as threads:
        assert threads.map(work, range(6 * n_jobs)) == [i**2 for i in range(6 * n_jobs)]
    assert len(workers) == n_jobs
    assert threading.active_count() == before


class Library:
    """A BLAS that is allowed some threads."""

    def __init__(self, num_threads):
        self.num_threads = num_threads

    def set_num_threads(self, number):
        self.num_threads = number


@pytest.mark.parametrize("numbers", [(1, 3), (3, 1), (3,)])
def test_as_many_threads_are_allowed_as_the_blas_with_most_of_them(numbers):
    """NumPy and SciPy bring a BLAS each, which may be allowed different numbers of threads."""
    blas = threads._SingleThreadedBlas()
    blas._libraries = [Library(number) for number in numbers]
    assert blas.limit("a fit") == 3
    assert [library.num_threads for library in blas._libraries] == [1] * len(numbers)
    blas.release("a fit")
    assert tuple(library.num_threads for library in blas._libraries) == numbers


# ---- Others who set limits meanwhile ------------------------------------------------------------


@contextmanager
def in_another_thread(context):
    """A context that another Python thread is in; that thread leaves it when it is told to."""
    entered, leave = threading.Event(), threading.Event()

    def stay():
        with context:
            entered.set()
            assert leave.wait(10)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(stay)
        assert entered.wait(10)

        def end():
            leave.set()
            done.result(20)

        try:
            yield end
        finally:
            end()


def test_limits_that_end_during_a_fit_are_not_brought_back(two_allowed):
    """A fit that began under another thread's limit of three ends with the two from before it."""
    with ExitStack() as stack:
        end = stack.enter_context(in_another_thread(threadpool_limits(3, user_api="blas")))
        assert blas_threads() == {3}
        with Threads() as fit:
            assert (fit.count, blas_threads()) == (3, {1})
            end()
            assert blas_threads() == {2}
        assert blas_threads() == {2}


def test_limits_that_begin_during_a_fit_outlive_it(two_allowed):
    """What another thread sets during a fit is left as it is, and what a fit sees that begins."""
    with ExitStack() as stack:
        with Threads():
            stack.enter_context(in_another_thread(threadpool_limits(3, user_api="blas")))
            with Threads() as another:
                assert (another.count, blas_threads()) == (3, {1})
        assert blas_threads() == {3}


def test_an_interrupt_anywhere_leaves_the_limits_as_they_were(monkeypatch):
    """Ctrl-C at any line that limits BLAS or gives it back: it has its threads, and later fits."""
    blas = threads._SingleThreadedBlas()
    blas._libraries = [Library(2), Library(3)]
    monkeypatch.setattr(threads, "_BLAS", blas)
    inside = {getattr(blas, name).__code__ for name in ("limit", "_release", "_lower", "_restore")}

    def enter_and_leave(interrupted_line):
        """Return the number of lines that are run, until there is an interrupt."""
        lines = 0

        def trace(frame, event, _argument):
            nonlocal lines
            if frame.f_code in inside and event == "line":
                lines += 1
                if lines == interrupted_line:
                    raise KeyboardInterrupt
            return trace if frame.f_code in inside else None

        traced_before = sys.gettrace()
        sys.settrace(trace)
        try:
            with Threads(1):
                pass
        finally:
            sys.settrace(traced_before)
        return lines

    for line in range(1, enter_and_leave(None) + 1):
        with pytest.raises(KeyboardInterrupt):
            enter_and_leave(line)
        assert [library.num_threads for library in blas._libraries] == [2, 3]
        with Threads() as fit:
            assert fit.count == 3
            assert [library.num_threads for library in blas._libraries] == [1, 1]
        assert [library.num_threads for library in blas._libraries] == [2, 3]


# ---- Processes that are forked ------------------------------------------------------------------

FORKING = """
import os, signal, threading
from threadpoolctl import ThreadpoolController, threadpool_info
from softreg._rows.threads import Threads

for library in ThreadpoolController().select(user_api="blas").lib_controllers:
    library.set_num_threads(2)

def blas():
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}

def in_child(report):
    "What report() returns in a forked process, as text."
    read, write = os.pipe()
    if os.fork() == 0:
        signal.alarm(60)  # no child outlives a test that fails
        try:
            os.write(write, str(report()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        found = pipe.read()
    os.wait()
    return found

def fits():
    outside = blas()
    with Threads() as threads:
        inside = blas()
    return outside, threads.count, inside, blas()

AS_EVER = str(({2}, 2, {1}, {2}))
"""


def run_forking(body):
    """Run a script after the lines above, in a process that holds no other threads."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING + body],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


@needs_fork
def test_a_process_forked_during_another_threads_fit_has_the_limits_outside_of_it():
    """In the child BLAS has its two threads, before and after fits; in the parent the fit its one.

    A child that is forked where no fit is, later, has them as well.
    """
    run_forking(
        """
entered, leave = threading.Event(), threading.Event()

def fit():
    with Threads(1):
        entered.set()
        assert leave.wait(60)

other = threading.Thread(target=fit)
other.start()
assert entered.wait(60)
assert in_child(fits) == AS_EVER, in_child(fits)
assert blas() == {1}
leave.set()
other.join()
assert blas() == {2}
assert in_child(fits) == AS_EVER
"""
    )


@needs_fork
def test_a_process_forked_during_its_own_threads_fit_may_fit_and_leave_it():
    """A callback that forks: the child fits, and leaves the fit that it was born in, unharmed."""
    run_forking(
        """
with Threads(1):
    assert in_child(fits) == AS_EVER
    assert blas() == {1}
assert blas() == {2}

def leave_and_fit():
    outer.__exit__(None, None, None)
    return fits()

outer = Threads(1)
outer.__enter__()
assert in_child(leave_and_fit) == AS_EVER
assert blas() == {1}
outer.__exit__(None, None, None)
assert blas() == {2}
"""
    )


@needs_fork
def test_a_process_forked_while_limits_change_does_not_hang():
    """Another thread enters and leaves fits all the time: whenever a child is born, it can fit."""
    run_forking(
        """
over = threading.Event()

def many_fits():
    while not over.is_set():
        with Threads(1):
            pass

other = threading.Thread(target=many_fits)
other.start()
found = {in_child(fits) for _ in range(50)}
over.set()
other.join()
assert found == {AS_EVER}, found
assert blas() == {2}
"""
    )
