from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from sqlalchemy import select

from gateway.control.audit.book import Book
from gateway.control.command import Commands
from gateway.control.consumer import Consumer, DirectoryError
from gateway.control.directory import LONGEST_OVERLAP, Directory, NewKey
from gateway.control.store import Store
from gateway.control.tables import keys
from gateway.exchange import Credential
from gateway.settings import schema
from gateway.settings.key import digest, key_id, make_key
from gateway.settings.schema import Config, Role, Tier
from tests.gateway.control.records import NOON

CONFIG = Config(
    tiers={"free": Tier(), "pro": Tier()},
    roles={"developer": Role(tier="pro", may=("infer",)), "guest": Role()},
    consumers={"filed": schema.Consumer(tier="pro", project="search", models=("qwen*",), routes=("/v1/*",))},
)


class Hand:
    """A clock that is moved by hand."""

    now = NOON

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def store(any_store: Store) -> Store:
    return any_store


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def directory(store: Store, hand: Hand) -> Directory:
    return Directory(store, CONFIG, hand)


def test_a_made_key_is_found_by_its_digest(directory: Directory) -> None:
    wish = NewKey("acme", "free", "search", 1_800_000_000.0, ("qwen*",), ("/v1/chat/*",))
    change = directory.new_key(wish)
    key = change.data["key"]
    assert change.digests == (digest(key),)  # somebody may have asked for it before: forget that it was unknown
    assert directory.look_up(digest(key)) == Credential(
        id=key_id(key),
        consumer="acme",
        tier="free",
        project="search",
        expires=1_800_000_000.0,
        key_models=("qwen*",),
        key_routes=("/v1/chat/*",),
    )
    assert directory.look_up(digest(make_key())) is None


def test_a_key_of_a_consumer_of_the_file_has_the_files_rights(directory: Directory) -> None:
    key = directory.new_key(NewKey("filed")).data["key"]
    assert directory.look_up(digest(key)) == Credential(
        id=key_id(key), consumer="filed", tier="pro", project="search", models=("qwen*",), routes=("/v1/*",)
    )


def test_a_consumer_that_leaves_the_file_takes_its_keys_along(directory: Directory, store: Store, hand: Hand) -> None:
    key = directory.new_key(NewKey("filed")).data["key"]
    assert Directory(store, Config(), hand).look_up(digest(key)) is None


def test_s02_s05_the_key_itself_is_nowhere_in_the_store(directory: Directory, store: Store) -> None:
    key = directory.new_key(NewKey("acme", "free")).data["key"]
    with store.reading.connect() as connection:
        text = repr(connection.execute(select(keys)).all()) + repr(directory.list_keys())
    assert key not in text
    assert key.split("_")[2] not in text
    assert directory.list_keys().data[0]["ends_in"] == key[-4:]


def test_a_key_made_elsewhere_is_taken_once(directory: Directory) -> None:
    directory.new_key(NewKey("acme", "free", key="sk-made-elsewhere"))
    found = directory.look_up(digest("sk-made-elsewhere"))
    assert found is not None
    assert found.id == key_id("sk-made-elsewhere")
    with pytest.raises(DirectoryError, match="already"):
        directory.new_key(NewKey("acme", key="sk-made-elsewhere"))


@pytest.mark.parametrize("key", ["short", " begins with a space", "tk_000000000000_" + "0" * 43 + "_000000"])
def test_a_key_that_could_not_be_used_is_refused(directory: Directory, key: str) -> None:
    with pytest.raises(DirectoryError, match="8 to 512"):
        directory.new_key(NewKey("acme", "free", key=key))


@pytest.mark.parametrize("wish", [NewKey("new"), NewKey("new", "gold"), NewKey("filed", "free"), NewKey("", "free")])
def test_a_wish_that_does_not_fit_changes_nothing(directory: Directory, wish: NewKey) -> None:
    with pytest.raises(DirectoryError):
        directory.new_key(wish)
    assert directory.list_keys().data == []
    assert [row["name"] for row in directory.consumers.list_all().data] == ["filed"]


def test_a_revoked_key_is_gone_at_once(directory: Directory) -> None:
    made = directory.new_key(NewKey("acme", "free")).data
    assert directory.revoke(made["id"]).digests == (digest(made["key"]),)
    assert directory.look_up(digest(made["key"])) is None
    assert directory.list_keys("acme").data[0]["revoked"] == NOON / 1_000_000
    directory.revoke(made["id"])  # once more does no harm
    with pytest.raises(DirectoryError, match="no key"):
        directory.revoke("nobody")


def test_a_rotated_key_lives_on_for_the_overlap(directory: Directory) -> None:
    old = directory.new_key(NewKey("acme", "free", models=("qwen*",))).data
    change = directory.rotate(old["id"], overlap=60.0)
    new = change.data
    assert set(change.digests) == {digest(old["key"]), digest(new["key"])}
    before, after = directory.look_up(digest(old["key"])), directory.look_up(digest(new["key"]))
    assert before is not None
    assert after is not None
    assert before.expires == NOON / 1_000_000 + 60
    assert (after.expires, after.key_models, after.consumer) == (0.0, ("qwen*",), "acme")


def test_rotation_never_prolongs_a_key(directory: Directory, hand: Hand) -> None:
    soon = NOON / 1_000_000 + 10
    old = directory.new_key(NewKey("acme", "free", expires=soon)).data
    new = directory.rotate(old["id"], overlap=60.0).data
    for made in (old, new):
        found = directory.look_up(digest(made["key"]))
        assert found is not None
        assert found.expires == soon
    hand.now += 11_000_000
    with pytest.raises(DirectoryError, match="ended"):
        directory.rotate(new["id"])


def test_a_key_is_rotated_once_however_many_ask(directory: Directory) -> None:
    """Two of its holders at the same moment get one new key, and one of them a refusal (S06)."""
    old = directory.new_key(NewKey("acme", "free")).data["id"]
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(directory.rotate, old, 60.0) for _ in range(8)]
    made = [one.result().data["id"] for one in asked if one.exception() is None]
    assert len(made) == 1
    assert {str(error) for one in asked if (error := one.exception())} == {
        f"key {old} was rotated already, to {made[0]}; rotate that one"
    }
    assert {row["id"]: row["successor"] for row in directory.list_keys().data} == {old: made[0], made[0]: ""}


def test_a_holder_rotates_his_own_key_and_no_other(directory: Directory, store: Store, hand: Hand) -> None:
    mine, theirs = (directory.new_key(NewKey(name, "free")).data["id"] for name in ("acme", "other"))
    namesake = schema.Consumer(tier="free", keys=(schema.Key(sha256="0" * 64, id=mine),))
    for id, consumer, overlap, reason in (
        (theirs, "acme", 0.0, "none of the store's"),
        ("filed-key", "acme", 0.0, "no key filed-key"),
        (mine, "acme", -1.0, "overlap"),
        (mine, "acme", LONGEST_OVERLAP + 1.0, "overlap"),
    ):
        with pytest.raises(DirectoryError, match=reason):
            directory.rotate_own(id, consumer, overlap)
    filed = msgspec.structs.replace(CONFIG, consumers={"acme": namesake})
    with pytest.raises(DirectoryError, match="none of the store's"):  # it is the file's key that he used
        Directory(store, filed, hand).rotate_own(mine, "acme", 0.0)
    assert directory.rotate_own(mine, "acme", 5.0).data["consumer"] == "acme"


def test_roles_methods_and_addresses_of_the_stores_consumers(directory: Directory) -> None:
    consumer = Consumer("acme", role="developer", methods=("GET", "POST"), addresses=("10.0.0.0/8",))
    assert directory.consumers.set(consumer).data["tier"] == "pro", "the role's"
    key = directory.new_key(NewKey("acme", methods=("POST", "PUT"))).data["key"]
    found = directory.look_up(digest(key))
    assert found is not None
    assert (found.role, found.tier, found.methods, found.addresses) == ("developer", "pro", ("POST",), ("10.0.0.0/8",))
    with pytest.raises(DirectoryError, match="role developer"):
        directory.new_key(NewKey("acme", role="guest"))


def test_a_tier_that_leaves_the_file_takes_its_keys_along(
    directory: Directory, store: Store, hand: Hand, caplog: pytest.LogCaptureFixture
) -> None:
    """Not to be limited by nothing."""
    directory.consumers.set(Consumer("roled", role="developer"))
    keys = [directory.new_key(NewKey("acme", "free")).data["key"], directory.new_key(NewKey("roled")).data["key"]]
    later = Directory(store, Config(tiers={"other": Tier()}, roles={"developer": Role()}), hand)
    assert [later.look_up(digest(key)) for key in keys] == [None, None]
    assert "consumer acme is refused: no tier 'free'" in caplog.text


@pytest.mark.parametrize(
    ("consumer", "reason"),
    [
        (Consumer("acme"), "needs one of the tiers"),
        (Consumer("acme", role="guest"), "needs one of the tiers"),
        (Consumer("acme", "free", role="ghost"), "no role 'ghost'; roles are developer, guest"),
        (Consumer("acme", "free", addresses=("10.0.0.1/8",)), "not a network"),
        (Consumer("ac\nme", "free"), "a name of printable characters"),
        (Consumer("acme", "free", project="a\0"), "name of a project is of printable characters"),
    ],
)
def test_consumers_that_cannot_be(directory: Directory, consumer: Consumer, reason: str) -> None:
    with pytest.raises(DirectoryError, match=reason):
        directory.consumers.set(consumer)


def test_a_consumer_is_changed_and_removed_with_its_keys(directory: Directory) -> None:
    key = directory.new_key(NewKey("acme", "free")).data["key"]
    change = directory.consumers.set(Consumer("acme", "pro", models=("a*",)))
    assert change.digests == (digest(key),)
    found = directory.look_up(digest(key))
    assert found is not None
    assert (found.tier, found.models) == ("pro", ("a*",))
    assert directory.consumers.remove("acme").digests == (digest(key),)
    assert directory.look_up(digest(key)) is None
    with pytest.raises(DirectoryError, match="no consumer acme"):
        directory.consumers.show("acme")


def test_an_override_of_a_consumer_of_the_store(directory: Directory, hand: Hand) -> None:
    directory.consumers.set(Consumer("o", "pro", override_tier="free", override_until=5_000_000))
    key = directory.new_key(NewKey("o")).data["key"]
    found = directory.look_up(digest(key))
    assert found is not None and (found.override_tier, found.override_until) == ("free", 5.0)
    assert (found.tier_at(4.9), found.tier_at(5.0)) == ("free", "pro")
    for wrong in (Consumer("o", "pro", override_tier="gone"), Consumer("o", "pro", override_until=5)):
        with pytest.raises(DirectoryError):
            directory.consumers.set(wrong)


def test_consumers_of_the_file_are_not_changed_here(directory: Directory) -> None:
    for change in (
        lambda: directory.consumers.set(Consumer("filed", "free")),
        lambda: directory.consumers.remove("filed"),
    ):
        with pytest.raises(DirectoryError, match="configuration file"):
            change()
    assert directory.consumers.show("filed").data["source"] == "file"


def test_commands_reach_the_directory_by_name(directory: Directory, store: Store) -> None:
    commands = Commands(store, directory, Book(store, "a", "", lambda: 0))
    id = commands.run("key.new", {"consumer": "acme", "tier": "free"}).data["id"]
    assert [row["id"] for row in commands.run("key.list", {"consumer": "acme"}).data] == [id]
    new = commands.run("key.rotate", {"id": id, "overlap": 1.5}).data["id"]
    commands.run("key.revoke", {"id": new})
    commands.run("consumer.set", {"name": "acme", "tier": "pro"})
    assert commands.run("consumer.show", {"name": "acme"}).data["tier"] == "pro"
    commands.run("consumer.remove", {"name": "acme"})
    assert [row["name"] for row in commands.run("consumer.list", {}).data] == ["filed"]


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("key.steal", {}, "no command key.steal"),
        ("key.new", {"consumer": "acme", "teir": "free"}, "teir"),
        ("key.new", {}, "consumer"),
        ("key.rotate", {"id": 5}, "id"),
        ("usage", {"month": "2026-13"}, "2026-13"),
    ],
)
def test_a_command_that_cannot_be_is_refused(
    directory: Directory, store: Store, name: str, arguments: dict[str, object], reason: str
) -> None:
    with pytest.raises(DirectoryError, match=reason):
        Commands(store, directory, Book(store, "a", "", lambda: 0)).run(name, arguments)
