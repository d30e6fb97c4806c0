"""What the saves of a training cost, by the notes that it took of its calls and saves."""

import statistics


def cost_of_saving(notes: dict) -> dict[str, float]:
    """What the saves of one training cost, by its own notes.

    The engine waits while a save copies the state; calls during the background write that follows
    are slower than others of the same update. The save at the end is counted as a whole.
    """
    written = [*notes["written"], *[notes["ended"]] * len(notes["saves"])]
    saves = [(*save, end) for save, end in zip(notes["saves"], written, strict=False)]
    last_call = notes["calls"][-1][0]
    during = [save for save in saves if save[0] < last_call]
    disturbed, undisturbed = split_calls(notes["calls"], during)
    usual = {
        update: sum(s for _, s in calls) / sum(n for n, _ in calls)
        for update, calls in undisturbed.items()
    }
    slower = sum(
        seconds - steps * usual[update]
        for update, calls in disturbed.items()
        for steps, seconds in calls
    )
    return {
        "seconds in all": notes["ended"] - notes["began"],
        "saves before the last": len(during),
        "seconds the engine waited": sum(end - begin for begin, end, _ in during),
        "seconds that calls were slower during background writes": slower,
        "seconds of a background write": statistics.mean(end - begin for _, begin, end in saves),
        "seconds of the last save, waited for": notes["ended"] - last_call,
    }


def split_calls(calls: list, saves: list) -> tuple[dict, dict]:
    """(steps, seconds) of each update's calls that overlap a write, and of those that do not.

    The calls of the first epoch are left out: they compile, and grow to their length.
    """
    disturbed, undisturbed = {}, {}
    names = [name for _, name, _ in calls]
    first = names.index(names[0], names.index(names[-1]))
    for (before, *_), (end, update, steps) in zip(calls[first:], calls[first + 1 :], strict=False):
        begin = max([before, *(let_go for _, let_go, _ in saves if before < let_go < end)])
        overlaps = any(begin < done and end > let_go for _, let_go, done in saves)
        chosen = disturbed if overlaps else undisturbed
        chosen.setdefault(update, []).append((steps, end - begin))
    return disturbed, undisturbed
