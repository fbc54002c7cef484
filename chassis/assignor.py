"""Who of a group gets which partitions: each topic is spread evenly by itself, and what can stay where it is stays.

aiokafka's own sticky assignor counts partitions over all topics: of two members one may get the whole standard lane, the
other the idle express lane. It must never move a partition of a topic that is spread evenly already.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.sticky.sticky_assignor import (
    StickyAssignmentExecutor,
    StickyAssignorMemberMetadataV1,
    StickyPartitionAssignor,
)
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata


class StickyByTopic(StickyPartitionAssignor):  # type: ignore[misc]  # aiokafka has no types
    """The sticky assignment of each topic by itself. Members tell the same as to its parent, so both may meet in a group."""

    @classmethod
    def assign(
        cls, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        told = {member: cls.parse_member_metadata(metadata) for member, metadata in members.items()}
        given: dict[str, list[tuple[str, list[int]]]] = {member: [] for member in members}
        for topic in sorted({topic for metadata in told.values() for topic in metadata.subscription}):
            executor = StickyAssignmentExecutor(
                _OneTopic(cluster, topic), {member: _of_topic(metadata, topic) for member, metadata in told.items()}
            )
            executor.perform_initial_assignment()
            executor.balance()
            for member in members:
                given[member] += executor.get_final_assignment(member)
        return {
            member: ConsumerProtocolMemberAssignment(cls.version, assigned, b"") for member, assigned in given.items()
        }


@dataclass(frozen=True, slots=True)
class _OneTopic:
    """A cluster that has only this topic."""

    cluster: ClusterMetadata
    topic: str

    def topics(self) -> set[str]:
        return {self.topic}

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        found: set[int] | None = self.cluster.partitions_for_topic(topic)
        return found


def _of_topic(metadata: StickyAssignorMemberMetadataV1, topic: str) -> StickyAssignorMemberMetadataV1:
    return StickyAssignorMemberMetadataV1(
        subscription=[name for name in metadata.subscription if name == topic],
        partitions=[place for place in metadata.partitions if place.topic == topic],
        generation=metadata.generation,
    )
