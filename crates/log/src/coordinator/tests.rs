//! The coordinator's rules, without a log.

use super::assign::ranges;
use super::*;

const SESSION: Duration = Duration::from_secs(10);

fn names(partitions: &[TopicPartition]) -> String {
    partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

struct Fixture {
    groups: Groups,
    members: Vec<Membership>,
    now: Duration,
    counts: BTreeMap<&'static str, u32>,
}

impl Fixture {
    fn new(counts: &[(&'static str, u32)]) -> Self {
        Self {
            groups: Groups::default(),
            members: Vec::new(),
            now: Duration::ZERO,
            counts: counts.iter().copied().collect(),
        }
    }

    fn join(&mut self) {
        let topics: Vec<Arc<str>> = self.counts.keys().map(|topic| Arc::from(*topic)).collect();
        let config = MemberConfig { client_id: String::from("m"), ..MemberConfig::new("g", [""; 0]) };
        self.members.push(self.groups.join(&config, &topics, SESSION, self.now));
    }

    fn poll(&mut self, member: usize) -> Option<String> {
        self.groups.expire("g", self.now);
        self.groups.set_polling("g", &self.members[member].member.clone(), false, self.now);
        self.groups.give_up_revoked(&self.members[member]);
        let counts = self.counts.clone();
        let count_of = move |topic: &str| counts.get(topic).copied().unwrap_or(0);
        let changes = self.groups.poll(&self.members[member], &count_of, true)?;
        self.members[member].generation = self.groups.generation(&self.members[member]).unwrap();
        Some(format!(
            "-[{}] ![{}] +[{}]",
            names(&changes.revoked),
            names(&changes.lost),
            names(&changes.assigned)
        ))
    }

    fn check(&self, member: usize, partition: u32) -> bool {
        self.groups.check(&self.members[member], &[(TopicPartition::new("a", partition), 1)]).is_ok()
    }
}

#[test]
fn ranges_cover_everything_once() {
    for width in 0..20 {
        for members in 1..8 {
            let all: Vec<u32> = ranges(width, members).flatten().collect();
            assert_eq!(all, (0..width).collect::<Vec<_>>(), "{width} among {members}");
        }
    }
}

#[test]
fn revoked_partitions_move_only_after_the_next_poll() {
    let mut f = Fixture::new(&[("a", 2)]);
    f.join();
    assert_eq!(f.poll(0).unwrap(), "-[] ![] +[a-0 a-1]");
    f.join();
    assert_eq!(f.poll(1).unwrap(), "-[] ![] +[]", "a-1 is still the first member's");
    assert!(f.check(0, 1), "a member that has not polled keeps its generation");
    assert_eq!(f.poll(0).unwrap(), "-[a-1] ![] +[]");
    assert!(f.check(0, 1), "it can still commit what it must give up");
    assert_eq!(f.poll(1).unwrap(), "-[] ![] +[]");
    assert_eq!(f.poll(0).unwrap(), "-[] ![] +[]");
    assert!(!f.check(0, 1));
    assert_eq!(f.poll(1).unwrap(), "-[] ![] +[a-1]");
    assert!(f.check(1, 1) && f.check(0, 0));
}

#[test]
fn a_silent_member_loses_everything() {
    let mut f = Fixture::new(&[("a", 2)]);
    f.join();
    f.join();
    f.poll(0);
    f.poll(1);
    let old = f.members[0].clone();
    f.now += SESSION + Duration::from_millis(1);
    f.groups.set_polling("g", &f.members[1].member.clone(), true, f.now);
    assert_eq!(f.poll(1).unwrap(), "-[] ![] +[a-0]");
    assert!(f.poll(0).is_none());
    assert!(f.groups.check(&old, &[]).is_err());
}

#[test]
fn an_old_generation_is_refused() {
    let mut f = Fixture::new(&[("a", 2)]);
    f.join();
    f.poll(0);
    let old = f.members[0].clone();
    f.join();
    f.poll(0);
    assert!(matches!(f.groups.check(&old, &[]), Err(LogError::NotOwner { .. })));
    assert!(f.check(0, 0));
}

#[test]
fn partition_n_of_every_topic_stays_together() {
    let mut f = Fixture::new(&[("a", 4), ("b", 2), ("c", 4)]);
    f.join();
    f.join();
    assert_eq!(f.poll(0).unwrap(), "-[] ![] +[a-0 a-1 b-0 b-1 c-0 c-1]");
    assert_eq!(f.poll(1).unwrap(), "-[] ![] +[a-2 a-3 c-2 c-3]");
}

#[test]
fn new_partitions_are_shared_out_and_deleted_topics_are_lost() {
    let mut f = Fixture::new(&[("a", 1)]);
    f.join();
    f.poll(0);
    f.counts.insert("a", 3);
    assert_eq!(f.poll(0).unwrap(), "-[] ![] +[a-1 a-2]");
    f.counts.remove("a");
    assert_eq!(f.poll(0).unwrap(), "-[] ![a-0 a-1 a-2] +[]");
}

#[test]
fn leaving_frees_at_once() {
    let mut f = Fixture::new(&[("a", 2)]);
    f.join();
    f.join();
    f.poll(0);
    f.poll(1);
    let gone = f.members[0].clone();
    f.groups.leave("g", &gone.member);
    assert_eq!(f.poll(1).unwrap(), "-[] ![] +[a-0]");
}

/// Two sub-topologies on `a` and `r`, 4 tasks each; the second one has state.
fn topology() -> Arc<GroupTopology> {
    let stateful = crate::GroupSubTopology {
        id: String::from("1"),
        repartition_sources: vec![crate::TopicSpec::new("r", 4)],
        changelogs: vec![crate::TopicSpec::new("s-changelog", 4)],
        ..crate::GroupSubTopology::default()
    };
    let first = crate::GroupSubTopology {
        id: String::from("0"),
        sources: vec![String::from("a")],
        ..crate::GroupSubTopology::default()
    };
    Arc::new(GroupTopology { sub_topologies: vec![first, stateful] })
}

struct Processes(Fixture);

impl Processes {
    fn new() -> Self {
        Self(Fixture::new(&[("a", 4), ("r", 4)]))
    }

    /// Joins as a thread of a process; members are numbered.
    fn join(&mut self, process: &str, replicas: u32) -> usize {
        let config = MemberConfig {
            client_id: String::from("m"),
            process_id: process.to_owned(),
            topology: Some(topology()),
            standby_replicas: replicas,
            endpoint: Some((process.to_owned(), 80)),
            ..MemberConfig::new("g", [""; 0])
        };
        let topics: Vec<Arc<str>> = vec!["a".into(), "r".into()];
        self.0.members.push(self.0.groups.join(&config, &topics, SESSION, self.0.now));
        self.0.members.len() - 1
    }

    fn settle(&mut self, members: &[usize]) {
        for _ in 0..4 {
            for member in members {
                self.0.poll(*member).unwrap();
            }
        }
    }

    fn active(&self, member: usize) -> Vec<String> {
        let joined = &self.0.groups.groups["g"].members[&self.0.members[member].member];
        joined.owned.iter().map(ToString::to_string).collect()
    }

    fn standbys(&self, member: usize) -> Vec<String> {
        let joined = &self.0.groups.groups["g"].members[&self.0.members[member].member];
        joined.standbys.iter().map(|task| format!("{}_{}", task.sub_topology, task.partition)).collect()
    }
}

#[test]
fn tasks_stay_where_they_are_as_far_as_shares_stay_even() {
    let mut f = Processes::new();
    let first = f.join("p", 0);
    f.settle(&[first]);
    assert_eq!(f.active(first).len(), 8);
    let second = f.join("q", 0);
    f.settle(&[first, second]);
    assert_eq!(f.active(first), ["a-0", "a-1", "r-0", "r-1"], "both sub-topologies are halved");
    assert_eq!(f.active(second), ["a-2", "a-3", "r-2", "r-3"]);
    let third = f.join("s", 0);
    f.settle(&[first, second, third]);
    let sizes: Vec<usize> = [first, second, third].iter().map(|member| f.active(*member).len()).collect();
    assert_eq!(sizes, [3, 3, 2]);
    assert!(f.active(first).iter().all(|at| ["a-0", "a-1", "r-0", "r-1"].contains(&at.as_str())));
    assert!(f.active(second).iter().all(|at| ["a-2", "a-3", "r-2", "r-3"].contains(&at.as_str())));
    let gone = f.0.members[second].member.clone();
    let kept = (f.active(first), f.active(third));
    f.0.groups.leave("g", &gone);
    f.settle(&[first, third]);
    assert!(kept.0.iter().all(|at| f.active(first).contains(at)));
    assert!(kept.1.iter().all(|at| f.active(third).contains(at)));
    assert_eq!(f.active(first).len() + f.active(third).len(), 8);
}

#[test]
fn standby_copies_lie_in_other_processes_and_only_of_tasks_with_state() {
    let mut f = Processes::new();
    let (first, twin) = (f.join("p", 1), f.join("p", 1));
    f.settle(&[first, twin]);
    assert!(f.standbys(first).is_empty() && f.standbys(twin).is_empty(), "there is no other process");
    let other = f.join("q", 1);
    f.settle(&[first, twin, other]);
    let here: Vec<String> = [first, twin].iter().flat_map(|member| f.standbys(*member)).collect();
    let there = f.standbys(other);
    let active_there = f.active(other);
    for partition in 0..4 {
        let (task, input) = (format!("1_{partition}"), format!("r-{partition}"));
        assert_eq!(active_there.contains(&input), here.contains(&task), "{task}: {here:?}");
        assert_eq!(!active_there.contains(&input), there.contains(&task), "{task}: {there:?}");
    }
    assert!(here.iter().chain(&there).all(|task| task.starts_with("1_")));
    let told = f.0.groups.endpoints("g");
    assert_eq!(told.iter().filter(|endpoint| endpoint.host == "p").count(), 2);
    let other_told = told.iter().find(|endpoint| endpoint.host == "q").unwrap();
    assert_eq!(names(&other_told.active), active_there.join(" "));
    assert_eq!(other_told.standby.len(), there.len());
}

#[test]
fn whoever_keeps_the_copy_takes_the_task_over_and_gives_the_copy_up_only_then() {
    let mut f = Processes::new();
    let (first, second, third) = (f.join("p", 1), f.join("q", 1), f.join("s", 1));
    f.settle(&[first, second, third]);
    let stateful: Vec<String> =
        f.active(first).iter().filter(|at| at.starts_with("r-")).map(|at| at.replace("r-", "1_")).collect();
    assert!(!stateful.is_empty());
    let gone = f.0.members[first].member.clone();
    let copies = [(second, f.standbys(second)), (third, f.standbys(third))];
    f.0.groups.leave("g", &gone);
    f.settle(&[second, third]);
    let mut warm = 0;
    for task in &stateful {
        let (holder, _) = copies.iter().find(|(_, held)| held.contains(task)).unwrap();
        let owned = f.active(*holder);
        if owned.contains(&task.replace("1_", "r-")) {
            warm += 1;
            assert!(!f.standbys(*holder).contains(task));
        } else {
            let share = owned.iter().filter(|at| at.starts_with("r-")).count();
            assert_eq!(share, 2, "{task} goes to its copy unless that member has its even share");
        }
    }
    assert!(warm > 0);
}

#[test]
fn a_copy_is_kept_until_its_task_has_arrived() {
    let mut f = Processes::new();
    let (first, second) = (f.join("p", 1), f.join("q", 1));
    f.settle(&[first, second]);
    // The first one goes silent: its tasks are meant for the second one, but not free yet.
    let held = f.standbys(second);
    f.0.groups
        .groups
        .get_mut("g")
        .unwrap()
        .members
        .get_mut(&f.0.members[first].member)
        .unwrap()
        .target
        .clear();
    let topology = topology();
    let meant = assign::inputs_of(
        Some(&topology),
        &StandbyTask {
            sub_topology: String::from("1"),
            partition: held[0].trim_start_matches("1_").parse().unwrap(),
        },
    )
    .next()
    .unwrap();
    let group = f.0.groups.groups.get_mut("g").unwrap();
    let joined = group.members.get_mut(&f.0.members[second].member).unwrap();
    joined.target.insert(meant);
    joined.standby_target.remove(&StandbyTask {
        sub_topology: String::from("1"),
        partition: held[0].trim_start_matches("1_").parse().unwrap(),
    });
    f.0.poll(second).unwrap();
    assert_eq!(f.standbys(second), held, "the owner has not given the task up");
}

#[test]
fn copies_are_as_many_as_asked_for_and_there_are_processes() {
    for (replicas, processes, expect) in [(0, 3, 0), (1, 3, 1), (2, 3, 2), (3, 3, 2), (2, 5, 2)] {
        let mut f = Processes::new();
        let members: Vec<usize> = (0..processes).map(|n| f.join(&format!("p{n}"), replicas)).collect();
        f.settle(&members);
        for partition in 0..4 {
            let task = format!("1_{partition}");
            let copies = members.iter().filter(|member| f.standbys(**member).contains(&task)).count();
            assert_eq!(copies, expect, "{replicas} of {task} among {processes}");
        }
    }
}

#[test]
fn a_request_to_stop_reaches_all_and_ends_with_the_last() {
    let mut f = Processes::new();
    let (first, second) = (f.join("p", 0), f.join("q", 0));
    f.settle(&[first, second]);
    let members = [f.0.members[first].clone(), f.0.members[second].clone()];
    assert!(f.0.groups.request_shutdown(&members[0]));
    assert!(!f.0.groups.request_shutdown(&members[1]), "no news");
    for member in &members {
        assert!(!f.0.groups.is_settled(member));
        assert!(f.0.groups.poll(member, &|_| 4, true).unwrap().shutdown);
    }
    for member in &members {
        f.0.groups.leave("g", &member.member);
    }
    let next = f.join("p", 0);
    assert!(!f.0.groups.poll(&f.0.members[next].clone(), &|_| 4, true).unwrap().shutdown);
}
