"""Laws of threads: BLAS has one inside and its own outside, and work keeps its order."""

import importlib.util
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

from softreg._rows import threads
from softreg._rows.threads import Threads


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


class Controller:
    """Of several BLAS, as threadpoolctl's is."""

    def __init__(self, *numbers):
        self.lib_controllers = [Library(number) for number in numbers]

    def limit(self, limits):
        return self

    def restore_original_limits(self):
        pass


@pytest.mark.parametrize("numbers", [(1, 3), (3, 1), (3,)])
def test_as_many_threads_are_allowed_as_the_blas_with_most_of_them(numbers):
    """NumPy and SciPy bring a BLAS each, which may be allowed different numbers of threads."""
    blas = threads._SingleThreadedBlas()
    blas._controller = Controller(*numbers)
    assert blas.limit() == 3
    blas.release()
