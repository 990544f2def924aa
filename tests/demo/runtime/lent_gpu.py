"""Stands in for the package `spaces`, which only Hugging Face has: what ZeroGPU does to a function that needs the GPU.

What goes in, what comes out and what fails is pickled; of errors only gr.Error keeps its words; whoever closes the
generator waits until the function has come to its own end.
"""

import inspect
import pickle


def _across(value):
    return pickle.loads(pickle.dumps(value))


def gradio_auto_wrap(fn):
    return fn


def GPU(task=None, *, duration=None, size=None):
    if task is None:
        return lambda t: GPU(t, duration=duration, size=size)
    assert inspect.isgeneratorfunction(task)

    def run(*args):
        import gradio

        args = _across(args)
        seconds = duration(*args) if callable(duration) else duration
        assert 0 < seconds <= 120
        print("GPU for", seconds, "s:", task.__name__, flush=True)
        source = task(*args)
        try:
            for item in source:
                yield _across(item)
        except gradio.Error as error:
            raise _across(error) from None
        except Exception as error:
            raise gradio.Error(type(error).__name__) from None
        finally:
            for _ in source:
                pass

    return run
