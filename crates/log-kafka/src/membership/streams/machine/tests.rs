//! Whole conversations with a broker, a line each: what goes out, what comes back, what the caller is told.

use super::super::messages;
use super::*;
use crate::membership::streams::tasks::Task;

/// Drives one machine and says in words what it does.
struct Script {
    machine: Machine,
    now: Duration,
    sent: Option<Heartbeat>,
}

/// `0:0 1:2`
fn tasks(text: &str) -> Tasks {
    text.split_whitespace()
        .map(|task| {
            let (sub, partition) = task.split_once(':').unwrap();
            Task { sub_topology: sub.into(), partition: partition.parse().unwrap() }
        })
        .collect()
}

fn show(tasks: &Tasks) -> String {
    let all: Vec<_> = tasks.iter().map(|task| format!("{}:{}", task.sub_topology, task.partition)).collect();
    all.join(" ")
}

fn reply(epoch: i32) -> Reply {
    Reply { epoch, interval: Duration::from_secs(5), ..Reply::default() }
}

fn giving(epoch: i32, active: &str) -> Reply {
    Reply { active: Some(tasks(active)), ..reply(epoch) }
}

fn refusing(error: i16, message: &str) -> Reply {
    Reply { error, message: message.to_owned(), ..Reply::default() }
}

fn remarking(epoch: i32, code: StatusCode, text: &str) -> Reply {
    Reply { status: vec![Status { code, text: text.to_owned() }], active: Some(Tasks::new()), ..reply(epoch) }
}

impl Script {
    fn new() -> Self {
        let join = Join {
            topology: messages::topology(&vigie_log::GroupTopology::default(), None),
            process: String::from("p"),
            endpoint: None,
            rack: None,
            rebalance_timeout: Duration::from_secs(300),
        };
        let identity = Identity {
            group: "g".into(),
            member: "m".into(),
            join: Arc::new(join),
            patience: Duration::from_secs(30),
        };
        Self { machine: Machine::new(identity), now: Duration::ZERO, sent: None }
    }

    /// What goes out now: `join`, or the epoch with what is said to be owned.
    fn sends(&mut self, expect: &str) -> &mut Self {
        let found = match self.machine.next(self.now) {
            Next::Send(heartbeat) => {
                let owned = match &heartbeat.owned {
                    None => String::from("as before"),
                    Some(owned) if heartbeat.join.is_some() => {
                        assert_eq!(*owned, Assignment::default(), "brokers refuse joins that own something");
                        String::from("join")
                    }
                    Some(owned) => format!(
                        "[{}]{}",
                        show(&owned.active),
                        if owned.standby.is_empty() {
                            String::new()
                        } else {
                            format!(" copies [{}]", show(&owned.standby))
                        }
                    ),
                };
                let shutdown = if heartbeat.shutdown { " shutdown" } else { "" };
                let text = format!("{} {owned}{shutdown}", heartbeat.epoch);
                self.sent = Some(*heartbeat);
                text
            }
            Next::Wait(until) => format!("wait {:?}", until - self.now),
            Next::Rest => String::from("rest"),
            Next::Left => String::from("left"),
        };
        assert_eq!(found, expect, "at {:?}", self.now);
        self
    }

    fn gets(&mut self, reply: Reply) -> &mut Self {
        let sent = self.sent.take().expect("something was sent");
        assert_eq!(self.machine.replied(self.now, &sent, reply), Coordinator::Stays);
        self
    }

    fn gets_nothing(&mut self, how: NoReply) -> &mut Self {
        self.sent.take().expect("something was sent");
        self.machine.no_reply(self.now, how);
        self
    }

    /// What the caller is told: `revoke 0:1; assign 0:2`.
    fn tells(&mut self, expect: &str) -> &mut Self {
        let told: Vec<String> = self
            .machine
            .changes(self.now)
            .iter()
            .map(|change| match change {
                Change::Revoke(tasks) => format!("revoke {}", show(tasks)),
                Change::Lost(tasks) => format!("lost {}", show(tasks)),
                Change::Assign(tasks) => format!("assign {}", show(tasks)),
                Change::Standbys(copies) => {
                    let copies: Vec<_> = copies
                        .iter()
                        .map(|copy| format!("{}:{}", copy.sub_topology, copy.partition))
                        .collect();
                    format!("copies {}", copies.join(" "))
                }
                Change::Shutdown(text) => format!("shutdown {text}"),
            })
            .collect();
        assert_eq!(told.join("; "), expect, "at {:?}", self.now);
        self
    }

    fn releases(&mut self, text: &str) -> &mut Self {
        self.machine.released(self.now, &tasks(text));
        self
    }

    fn passes(&mut self, ms: u64) -> &mut Self {
        self.now += Duration::from_millis(ms);
        self
    }

    fn owns(&mut self, text: &str, epoch: i32) -> &mut Self {
        assert_eq!(show(self.machine.held()), text);
        assert_eq!(self.machine.proof_epoch(), epoch);
        self
    }

    /// Has joined, and runs these tasks at epoch 3.
    fn running(active: &str) -> Self {
        let mut script = Self::new();
        script.sends("0 join").gets(giving(3, active)).tells(&format!("assign {active}"));
        script.sends(&format!("3 [{active}]")).gets(reply(3)).sends("wait 5s").owns(active, 3);
        script
    }
}

#[test]
fn a_member_alone_waits_for_its_topics_and_takes_all() {
    Script::new()
        .sends("0 join")
        .gets(remarking(1, StatusCode::MissingInternal, "Internal topics are missing: app-x"))
        .tells("")
        // Not a whole interval: the broker makes the topics within a moment.
        .sends("wait 50ms")
        .passes(250)
        .sends("1 as before")
        .gets(remarking(2, StatusCode::Delayed, "Assignment delayed"))
        .passes(250)
        .sends("2 as before")
        .gets(giving(3, "0:0 0:1"))
        .tells("assign 0:0 0:1")
        .sends("3 [0:0 0:1]")
        .gets(reply(3))
        .sends("wait 5s")
        .passes(5000)
        .sends("3 as before")
        .gets(reply(3))
        .tells("")
        .owns("0:0 0:1", 3);
}

#[test]
fn what_is_revoked_is_reported_only_when_it_is_released() {
    let mut script = Script::running("0:0 0:1 0:2 0:3");
    script
        .passes(5000)
        .sends("3 as before")
        .gets(giving(3, "0:0 0:1"))
        .tells("revoke 0:2 0:3")
        // Still owned: it commits under the old epoch.
        .owns("0:0 0:1 0:2 0:3", 3)
        .sends("wait 5s")
        .passes(5000)
        .sends("3 as before")
        .gets(reply(3))
        .tells("")
        .releases("0:2")
        .sends("wait 5s")
        .releases("0:3")
        // At once: the others wait for it.
        .sends("3 [0:0 0:1]")
        .gets(reply(4))
        .tells("")
        .owns("0:0 0:1", 4)
        .sends("wait 5s");
}

#[test]
fn the_receiver_gets_its_tasks_when_the_giver_has_released_them() {
    Script::new()
        .sends("0 join")
        .gets(giving(4, ""))
        .tells("")
        .sends("wait 50ms")
        .passes(250)
        .sends("4 as before")
        .gets(giving(4, "0:2 0:3"))
        .tells("assign 0:2 0:3")
        .sends("4 [0:2 0:3]")
        .gets(reply(4))
        .sends("wait 5s");
}

#[test]
fn a_member_without_tasks_does_not_hurry_for_ever() {
    let mut script = Script::new();
    script.sends("0 join").gets(giving(4, ""));
    script.passes(15_000).sends("4 as before").gets(reply(4)).sends("wait 5s");
}

#[test]
fn a_newer_assignment_replaces_one_that_the_caller_never_saw() {
    let mut script = Script::running("0:0");
    script
        .passes(5000)
        .sends("3 as before")
        .gets(giving(4, "0:0 0:1"))
        .passes(5000)
        .sends("4 as before")
        .gets(giving(4, "0:0"))
        // 0:1 came and went: nothing to do.
        .tells("");
    // Asked to give up, then given back before the caller had let go: it has to let go first, so that both sides count alike.
    let mut script = Script::running("0:0 0:1");
    script
        .passes(5000)
        .sends("3 as before")
        .gets(giving(3, "0:0"))
        .tells("revoke 0:1")
        .passes(5000)
        .sends("3 as before")
        .gets(giving(3, "0:0 0:1"))
        .tells("")
        .releases("0:1")
        .sends("3 [0:0]")
        .gets(reply(4))
        .tells("assign 0:1")
        .sends("4 [0:0 0:1]");
}

#[test]
fn no_assignment_while_something_is_being_given_up() {
    let mut script = Script::running("0:0 0:1");
    script
        .passes(5000)
        .sends("3 as before")
        .gets(giving(4, "0:1 0:2"))
        .tells("revoke 0:0")
        .tells("")
        .releases("0:0")
        .tells("assign 0:2")
        .sends("4 [0:1 0:2]");
}

#[test]
fn a_lost_reply_is_asked_for_again() {
    // It carried nothing.
    let mut script = Script::running("0:0");
    script
        .passes(5000)
        .sends("3 as before")
        .gets_nothing(NoReply::Unknown)
        .sends("wait 100ms")
        .passes(100)
        .sends("3 [0:0]")
        .gets(reply(3))
        .sends("0 join")
        .gets(giving(3, "0:0"))
        .tells("")
        .owns("0:0", 3)
        .sends("3 [0:0]")
        .gets(reply(3))
        .sends("wait 5s");
    // It carried more tasks: the old epoch is one lower and what is owned is what was assigned, so the broker accepts it.
    let mut script = Script::running("0:0");
    script
        .passes(5000)
        .sends("3 as before")
        .gets_nothing(NoReply::Unknown)
        .passes(100)
        .sends("3 [0:0]")
        .gets(reply(4))
        .sends("0 join")
        .gets(giving(4, "0:0 0:1"))
        .tells("assign 0:1")
        .owns("0:0 0:1", 4);
    // It asked to give up 0:1. By joining again that is given up, whatever the caller is doing.
    let mut script = Script::running("0:0 0:1");
    script
        .passes(5000)
        .sends("3 as before")
        .gets_nothing(NoReply::Unknown)
        .passes(100)
        .sends("3 [0:0 0:1]")
        .gets(reply(3))
        .sends("0 join")
        .gets(giving(4, "0:0"))
        .owns("0:0", 3)
        .tells("lost 0:1")
        .owns("0:0", 4);
    // The second request brought the assignment: joining again would bring nothing more.
    let mut script = Script::running("0:0");
    script
        .passes(5000)
        .sends("3 as before")
        .gets_nothing(NoReply::Unknown)
        .passes(100)
        .sends("3 [0:0]")
        .gets(giving(4, "0:0 0:1"))
        .tells("assign 0:1")
        .sends("4 [0:0 0:1]");
}

#[test]
fn after_a_lost_reply_a_forgotten_member_keeps_nothing() {
    for error in [messages::code::UNKNOWN_MEMBER_ID, messages::code::FENCED_MEMBER_EPOCH] {
        let mut script = Script::running("0:0 0:1");
        script
            .passes(60_000)
            .sends("3 as before")
            .gets_nothing(NoReply::Unknown)
            .passes(100)
            .sends("3 [0:0 0:1]")
            .gets(refusing(error, "gone"))
            // Others may have worked on them meanwhile: the same tasks are lost first, then assigned anew.
            .sends("0 join")
            .gets(giving(7, "0:0 0:1"))
            .owns("", 3)
            .tells("lost 0:0 0:1; assign 0:0 0:1")
            .owns("0:0 0:1", 7);
    }
}

#[test]
fn a_lost_join_is_repeated() {
    Script::new()
        .sends("0 join")
        .gets_nothing(NoReply::Unknown)
        .sends("wait 100ms")
        .passes(100)
        .sends("0 join")
        .gets(giving(3, "0:0"))
        .tells("assign 0:0");
    // The second join, after the probe: the probe again.
    let mut script = Script::running("0:0");
    script
        .passes(5000)
        .sends("3 as before")
        .gets_nothing(NoReply::Unknown)
        .passes(100)
        .sends("3 [0:0]")
        .gets(reply(3))
        .sends("0 join")
        .gets_nothing(NoReply::Unknown)
        .passes(200)
        .sends("3 [0:0]");
}

#[test]
fn a_request_that_was_never_sent_is_simply_sent_again() {
    let mut script = Script::running("0:0");
    script.passes(5000).sends("3 as before").gets_nothing(NoReply::NotSent);
    for wait in [100, 200, 400, 800, 1600, 2000, 2000] {
        script.sends(&format!("wait {:?}", Duration::from_millis(wait))).passes(wait);
        script.sends("3 as before").gets_nothing(NoReply::NotSent);
    }
    script.passes(2000).sends("3 as before").gets(reply(3)).tells("").owns("0:0", 3).sends("wait 5s");
}

#[test]
fn a_coordinator_that_moves_or_loads_changes_nothing() {
    let mut script = Script::running("0:0");
    script.passes(5000).sends("3 as before");
    let sent = script.sent.take().unwrap();
    assert_eq!(script.machine.replied(script.now, &sent, refusing(16, "")), Coordinator::Moved);
    script.passes(100).sends("3 as before").gets(refusing(14, "")).passes(200);
    script.sends("3 as before").gets(reply(3)).tells("").owns("0:0", 3);
}

#[test]
fn fenced_in_the_middle_of_giving_up() {
    let mut script = Script::running("0:0 0:1");
    script
        .passes(5000)
        .sends("3 as before")
        .gets(giving(3, "0:0"))
        .tells("revoke 0:1")
        .passes(5000)
        .sends("3 as before")
        .gets(refusing(110, "must abandon all its partitions and rejoin."))
        .owns("", 3)
        .tells("lost 0:0 0:1")
        // What the caller releases now is not its own any more.
        .releases("0:1")
        .sends("0 join")
        .gets(giving(5, "0:0"))
        .tells("assign 0:0")
        .owns("0:0", 5);
}

#[test]
fn the_proof_does_not_run_ahead_of_the_caller() {
    let mut script = Script::running("0:0");
    script
        .passes(5000)
        .sends("3 as before")
        .gets(refusing(25, ""))
        .sends("0 join")
        .gets(giving(9, ""))
        // With epoch 9 the broker would take a commit for 0:0, which is somebody else's: it does not check partitions.
        .owns("", 3)
        .tells("lost 0:0")
        .owns("", 9);
}

#[test]
fn copies_are_told_as_a_whole_and_reported() {
    let copies = |epoch, standby: &str| Reply { standby: Some(tasks(standby)), ..giving(epoch, "0:0") };
    let mut script = Script::new();
    script
        .sends("0 join")
        .gets(copies(3, "1:0 1:1"))
        .tells("assign 0:0; copies 1:0 1:1")
        .sends("3 [0:0] copies [1:0 1:1]")
        .gets(reply(3))
        .passes(5000)
        .sends("3 as before")
        .gets(copies(4, "1:1"))
        .tells("copies 1:1")
        .sends("4 [0:0] copies [1:1]")
        .gets(reply(4))
        .passes(5000)
        // The other member has gone: the copy becomes active. First it is taken off the copies, then given.
        .sends("4 as before")
        .gets(copies(5, ""))
        .tells("copies ")
        .sends("5 [0:0]")
        .gets(giving(5, "0:0 1:1"))
        .tells("assign 1:1")
        .sends("5 [0:0 1:1]");
    // Copies survive being fenced: the caller keeps what it has until it is told otherwise.
    let mut script = Script::new();
    script
        .sends("0 join")
        .gets(copies(3, "1:1"))
        .tells("assign 0:0; copies 1:1")
        .sends("3 [0:0] copies [1:1]");
    script
        .gets(refusing(25, ""))
        .tells("lost 0:0")
        .sends("0 join")
        .gets(copies(4, "1:1"))
        .tells("assign 0:0");
}

#[test]
fn trouble_that_lasts_is_a_failure() {
    let check = |code: StatusCode, expect: Option<Failure>| {
        let mut script = Script::new();
        script.sends("0 join").gets(remarking(1, code, "x"));
        while script.now < Duration::from_secs(29) {
            script.passes(5000).sends("1 as before").gets(remarking(1, code, "x"));
            let early = script.now < Duration::from_secs(30);
            assert_eq!(script.machine.failure().is_none(), early || expect.is_none(), "{code:?}");
        }
        assert_eq!(script.machine.failure(), expect.as_ref());
    };
    check(StatusCode::MissingSources, Some(Failure::MissingSources(String::from("x"))));
    check(StatusCode::UnfitTopics, Some(Failure::UnfitTopics(String::from("x"))));
    check(StatusCode::MissingInternal, Some(Failure::MissingInternal(String::from("x"))));
    check(StatusCode::StaleTopology, Some(Failure::OtherTopology(String::from("x"))));
    check(StatusCode::Delayed, None);
    check(StatusCode::Unknown, None);
    // Trouble that ends in time is none.
    let mut script = Script::new();
    script.sends("0 join").gets(remarking(1, StatusCode::MissingSources, "x")).passes(25_000);
    script.sends("1 as before").gets(giving(2, "")).passes(25_000);
    script.sends("2 as before").gets(remarking(2, StatusCode::MissingSources, "x"));
    assert_eq!(script.machine.failure(), None);
}

#[test]
fn a_request_for_shutdown_is_sent_once_and_told_once() {
    let mut script = Script::running("0:0");
    script.machine.request_shutdown(script.now);
    script
        .sends("3 as before shutdown")
        .gets(remarking(3, StatusCode::ShutdownRequested, "by m"))
        .tells("revoke 0:0; shutdown by m")
        .passes(5000)
        .sends("3 as before")
        .gets(remarking(3, StatusCode::ShutdownRequested, "by m"))
        .tells("");
    assert_eq!(script.machine.failure(), None, "it ends in good order");
}

#[test]
fn refusals_for_good_are_failures() {
    let check = |error: i16, text: &str, expect: Failure| {
        let mut script = Script::new();
        script.sends("0 join").gets(refusing(error, text));
        assert_eq!(script.machine.failure(), Some(&expect));
        script.passes(60_000).sends("rest");
    };
    let text = "Topology updates are not supported yet.";
    check(42, text, Failure::OtherTopology(text.to_owned()));
    let refused = |code, text: &str| Failure::Refused { code, text: text.to_owned() };
    check(130, "never used as a sink", refused(130, "never used as a sink"));
    check(30, "", refused(30, ""));
    // A member that is running goes on, so that it can commit and leave.
    let mut script = Script::running("0:0");
    script.passes(5000).sends("3 as before").gets(refusing(30, "")).tells("").owns("0:0", 3).passes(100);
    script.sends("3 as before");
}

#[test]
fn leaving() {
    let mut script = Script::running("0:0");
    script.machine.leave(script.now);
    script.sends("-1 as before").gets(reply(-1)).sends("left");
    assert!(script.machine.has_left());
    // Not even the farewell is waited for twice.
    let mut script = Script::running("0:0");
    script.machine.leave(script.now);
    script.sends("-1 as before").gets_nothing(NoReply::Unknown).sends("left");
    // Nobody knows this member yet.
    let mut script = Script::new();
    script.machine.leave(script.now);
    script.sends("left");
    // The broker may know it by now: the answer to the join is still to come.
    let mut script = Script::new();
    script.sends("0 join");
    script.machine.leave(script.now);
    script.gets(giving(3, "0:0")).tells("").sends("-1 as before").gets(reply(-1)).sends("left");
    let mut script = Script::new();
    script.sends("0 join").gets_nothing(NoReply::Unknown);
    script.machine.leave(script.now);
    script.sends("-1 as before").gets(refusing(25, "")).sends("left");
}

#[test]
fn a_caller_that_stands_still_gives_way_and_comes_back() {
    let mut script = Script::running("0:0");
    script.machine.stand_still(script.now);
    script.sends("-1 as before").gets(reply(-1)).sends("rest").passes(60_000).sends("rest");
    // Its commits are refused: the broker knows no such member.
    script.owns("", 3);
    script.machine.back(script.now);
    script.tells("lost 0:0").sends("0 join").gets(giving(8, "0:0")).tells("assign 0:0").owns("0:0", 8);
    // Back before the farewell has gone out.
    let mut script = Script::running("0:0");
    script.machine.stand_still(script.now);
    script.machine.back(script.now);
    script.tells("lost 0:0").sends("-1 as before").gets(reply(-1));
    script.machine.back(script.now);
    script.sends("0 join");
}

#[test]
fn endpoints_are_kept_until_the_broker_sends_others() {
    let endpoint =
        MemberEndpoint { host: String::from("h"), port: 1, active: Vec::new(), standby: Vec::new() };
    let mut script = Script::new();
    script.sends("0 join");
    assert_eq!(script.sent.as_ref().unwrap().endpoint_epoch, -1);
    script.gets(Reply { endpoint_epoch: 2, endpoints: Some(vec![endpoint.clone()]), ..giving(3, "0:0") });
    script.tells("assign 0:0").sends("3 [0:0]");
    assert_eq!(script.sent.as_ref().unwrap().endpoint_epoch, 2);
    script.gets(Reply { endpoint_epoch: 2, ..reply(3) });
    assert_eq!(script.machine.endpoints(), [endpoint]);
}
