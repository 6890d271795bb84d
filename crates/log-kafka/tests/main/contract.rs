//! The contract suite on real brokers: all of it with one node and with three, in KIP-848 groups, and the rules about groups once more in
//! classic ones.
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
    ($cluster:expr, $membership:expr; $($rule:ident)*) => {
        $(
            #[test]
            fn $rule() {
                let _undisturbed = super::THREE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
                let Some(cluster) = $cluster else { return };
                vigie_log::contract::$rule(&mut super::OnKafka::new(cluster, $membership));
            }
        )*
    };
}

mod one_node {
    vigie_log::contract_rules! { anywhere rules { crate::kafka::one_node(), vigie_log_kafka::MembershipMode::Auto } }
}

mod three_nodes {
    vigie_log::contract_rules! { anywhere rules { crate::kafka::three_nodes(), vigie_log_kafka::MembershipMode::Auto } }
}

// The rules in which a group takes part. `what_is_revoked_can_be_committed_first` has its like for classic groups, which revoke everything,
// in `groups`.
mod classic {
    rules! { crate::kafka::one_node(), vigie_log_kafka::MembershipMode::Classic;
        records_and_offsets_appear_together
        a_failed_transaction_leaves_nothing
        a_position_never_passes_a_record_that_was_not_handed_out
        a_partition_has_one_owner
        partition_n_of_every_topic_goes_to_one_member
        an_old_generation_is_refused
        a_closed_member_gives_way_at_once
        a_rebalance_skips_no_record
        a_member_goes_on_where_its_group_stopped
        a_member_can_start_with_what_is_to_come
        a_member_pauses_resumes_and_seeks
        groups_are_described_altered_and_deleted
        partitions_can_be_added
    }
}
