"""One model, or files of it, from the hub onto the disk: what the command and the child process of control both do."""

from collections.abc import Callable

from gateway.hub.download import HubFile, check_space, fetch, link, list_files, missing, place, split_name

Tell = Callable[[HubFile, int], None]


def pull(name: str, folder: str, tell: Tell) -> str:
    """Fetch `org/name[:file]` into `folder`, or into the hub's cache where that is ""; where it lies then.

    Goes on where an earlier call broke off. `tell` hears how many bytes of each file are there. Raises Unavailable.
    """
    listing = list_files(*split_name(name))
    places = [(file, place(listing, file, folder)) for file in listing.files]
    rest = [(file, target, missing(target, file)) for file, target in places]
    check_space(places[0][1].parent, sum(left for _, _, left in rest))
    for file, _, left in rest:
        tell(file, file.size - left)
    for file, target, left in rest:
        if left or not target.exists():
            fetch(listing.model, target, file, lambda size, file=file: tell(file, size))  # type: ignore[misc]
    return folder or link(listing)
