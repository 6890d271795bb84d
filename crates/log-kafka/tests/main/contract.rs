//! The contract suite on a real broker: all of it with one node and KIP-848 groups, what depends on copies and leaders with three nodes, and
//! the rules about records and groups with classic groups.
//!
//! What of it a broker cannot be asked for (to compact now, to set its clock) has tests of its own in `retention`.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use vigie_log::contract::Subject;
use vigie_log::{Log, LogError, Timestamp};
use vigie_log_kafka::{KafkaConfig, KafkaLog, MembershipMode};

use crate::kafka::{Cluster, unique};

struct OnKafka {
    cluster: Cluster,
    log: Arc<KafkaLog>,
    membership: MembershipMode,
    prefix: String,
}

impl OnKafka {
    fn new(cluster: Cluster, membership: MembershipMode) -> Self {
        let log = Arc::new(KafkaLog::open(KafkaConfig { membership, ..cluster.config() }).unwrap());
        Self { cluster, log, membership, prefix: unique("c") }
    }
}

impl Subject for OnKafka {
    fn log(&self) -> Arc<dyn Log> {
        Arc::clone(&self.log) as _
    }

    /// New clients; the broker is shared with other tests. `trouble` restarts brokers.
    fn restart(&mut self) {
        self.log = Arc::new(
            KafkaLog::open(KafkaConfig { membership: self.membership, ..self.cluster.config() }).unwrap(),
        );
    }

    fn maintain(&self, _now: Timestamp) -> bool {
        false
    }

    fn pass(&self, _time: Duration) -> bool {
        false
    }

    fn set_wall_clock(&self, _now: Timestamp) -> bool {
        false
    }

    fn unreachable(&self) -> Option<LogError> {
        let mut config = KafkaConfig::new(["127.0.0.1:1"]);
        config.start_timeout = Duration::from_secs(1);
        KafkaLog::open(config).err()
    }

    /// See `security`: this broker knows no permissions.
    fn not_authorised(&self) -> Option<LogError> {
        None
    }

    fn name(&self, base: &str) -> String {
        format!("{}-{base}", self.prefix)
    }

    fn smallest_timestamp(&self) -> Timestamp {
        1
    }
}

/// The test that kills one of three nodes has them for itself.
pub static THREE: RwLock<()> = RwLock::new(());

macro_rules! rules {
    ($module:ident, $cluster:expr, $membership:expr; $($rule:ident)*) => {
        mod $module {
            $(
                #[test]
                fn $rule() {
                    let _undisturbed = super::THREE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
                    let Some(cluster) = $cluster else { return };
                    vigie_log::contract::$rule(&mut super::OnKafka::new(cluster, $membership));
                }
            )*
        }
    };
}

rules!(one_node, crate::kafka::one_node(), vigie_log_kafka::MembershipMode::Auto;
    order_is_kept_within_a_partition
    offsets_increase_strictly
    everything_in_a_record_survives
    open_and_aborted_transactions_are_hidden
    records_and_offsets_appear_together
    a_failed_transaction_leaves_nothing
    an_older_producer_is_fenced
    calls_in_the_wrong_order_are_refused
    transactions_of_many_threads_all_arrive
    a_reader_seeks_and_is_moved_to_the_nearer_end
    a_waiting_reader_wakes_on_a_commit
    a_poll_is_bounded
    restart_keeps_everything
    a_partition_has_one_owner
    partition_n_of_every_topic_goes_to_one_member
    what_is_revoked_can_be_committed_first
    an_old_generation_is_refused
    a_closed_member_gives_way_at_once
    a_member_goes_on_where_its_group_stopped
    a_member_can_start_with_what_is_to_come
    a_member_pauses_resumes_and_seeks
    groups_are_described_altered_and_deleted
    topics_are_created_described_and_deleted
    partitions_can_be_added
    bad_topics_are_refused
    errors_are_told_apart
    records_can_be_deleted
    times_are_found
);

rules!(three_nodes, crate::kafka::three_nodes(), vigie_log_kafka::MembershipMode::Auto;
    order_is_kept_within_a_partition
    open_and_aborted_transactions_are_hidden
    records_and_offsets_appear_together
    an_older_producer_is_fenced
    transactions_of_many_threads_all_arrive
    a_waiting_reader_wakes_on_a_commit
    restart_keeps_everything
    a_partition_has_one_owner
    what_is_revoked_can_be_committed_first
    a_member_goes_on_where_its_group_stopped
    groups_are_described_altered_and_deleted
    partitions_can_be_added
    errors_are_told_apart
    records_can_be_deleted
);

// `what_is_revoked_can_be_committed_first` has its like for classic groups, which revoke everything, in `groups`.
rules!(classic, crate::kafka::one_node(), vigie_log_kafka::MembershipMode::Classic;
    records_and_offsets_appear_together
    a_failed_transaction_leaves_nothing
    a_partition_has_one_owner
    partition_n_of_every_topic_goes_to_one_member
    an_old_generation_is_refused
    a_closed_member_gives_way_at_once
    a_member_goes_on_where_its_group_stopped
    a_member_can_start_with_what_is_to_come
    a_member_pauses_resumes_and_seeks
    groups_are_described_altered_and_deleted
    partitions_can_be_added
);
