"""Both lanes over all replicas, and nothing moves that can stay (D25, D29, D104)."""

from collections import Counter
from collections.abc import Mapping, Sequence

from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.structs import TopicPartition

from chassis.member import group_arguments
from chassis.settings import KafkaSettings

LANES = ["express", "standard"]
(ASSIGNOR,) = group_arguments(KafkaSettings())["partition_assignment_strategy"]  # what every consumer joins with
Holdings = Mapping[str, Sequence[TopicPartition]]


class Cluster:
    """Twelve partitions in every topic."""

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(range(12))

    def topics(self) -> set[str]:
        return set(LANES)


def assigned(members: Sequence[str], before: Holdings, generation: int) -> dict[str, list[TopicPartition]]:
    def metadata(member: str) -> ConsumerProtocolMemberMetadata:
        held = before.get(member)
        return ASSIGNOR._metadata(LANES, held and list(held), generation)

    found = ASSIGNOR.assign(Cluster(), {member: metadata(member) for member in members})
    return {member: list(assignment.partitions()) for member, assignment in found.items()}


def by_lane(held: Sequence[TopicPartition]) -> Counter[str]:
    return Counter(place.topic for place in held)


def test_a_second_member_takes_half_of_each_lane() -> None:
    alone = assigned(["a"], {}, 1)
    assert by_lane(alone["a"]) == {"express": 12, "standard": 12}
    both = assigned(["a", "b"], alone, 2)
    assert by_lane(both["a"]) == by_lane(both["b"]) == {"express": 6, "standard": 6}
    assert set(both["a"]) | set(both["b"]) == set(alone["a"])


def test_what_can_stay_stays_when_a_member_leaves_and_when_nothing_changes() -> None:
    three = assigned(["a", "b", "c"], {}, 1)
    assert {member: by_lane(held) for member, held in three.items()} == {
        member: {"express": 4, "standard": 4} for member in "abc"
    }
    again = assigned(["a", "b", "c"], three, 2)
    assert {member: set(held) for member, held in again.items()} == {
        member: set(held) for member, held in three.items()
    }
    two = assigned(["a", "b"], three, 2)
    for member in ("a", "b"):
        assert set(three[member]) <= set(two[member])
        assert by_lane(two[member]) == {"express": 6, "standard": 6}
