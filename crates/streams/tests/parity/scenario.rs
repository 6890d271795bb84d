//! Scenarios: steps made from a plan and a seed. The same seed makes the same steps for ever, on every machine, since the golden
//! outputs hold only a sum of them; so the generator is spelled out here and taken from no library.

use std::fmt::Write;

/// One step of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A record into a topic.
    Record { topic: &'static str, key: Option<&'static str>, value: Option<String>, timestamp: i64 },
    /// The wall clock advances by so many milliseconds.
    Advance(u64),
}

/// What an input topic's records look like.
#[derive(Debug, Clone)]
pub struct Input {
    topic: &'static str,
    keys: Vec<&'static str>,
    values: Vec<&'static str>,
}

/// What scenarios are made of.
#[derive(Debug, Clone)]
pub struct Plan {
    inputs: Vec<Input>,
    forward: Vec<i64>,
    back: Vec<i64>,
    advances: Vec<u64>,
    /// How many scenarios.
    pub scenarios: usize,
    /// Whether the numbers of dropped records are compared.
    pub drops: bool,
}

impl Plan {
    /// Records into topic `in`: keys a, b, c and sometimes null, values 1 to 5 and sometimes null; timestamps mostly move on, sometimes
    /// stand still or go back.
    pub fn new() -> Self {
        Self {
            inputs: vec![Input::new("in", "a a b b c -", "1 2 3 4 5 -")],
            forward: vec![0, 0, 1, 5, 10, 20, 50],
            back: vec![1, 5, 10, 30, 60],
            advances: Vec::new(),
            scenarios: 200,
            drops: true,
        }
    }

    /// Null keys reach a repartition topic: Kafka Streams drops them there without counting them.
    pub fn with_silent_drops(mut self) -> Self {
        self.drops = false;
        self
    }

    /// Other inputs: for each, the topic, its keys and its values, separated by blanks; `-` is null.
    pub fn inputs(mut self, inputs: &[(&'static str, &'static str, &'static str)]) -> Self {
        self.inputs = inputs.iter().map(|(topic, keys, values)| Input::new(topic, keys, values)).collect();
        self
    }

    /// Two inputs, `left` and `right`, with [`new`](Self::new)'s keys and values.
    pub fn two_inputs() -> Self {
        Self::new().inputs(&[("left", "a a b b c -", "1 2 3 4 5 -"), ("right", "a a b b c -", "6 7 8 9 -")])
    }

    /// By how many milliseconds time may move on from the latest record, one of them at each step.
    pub fn forward(mut self, steps: &[i64]) -> Self {
        self.forward = steps.to_vec();
        self
    }

    /// By how many milliseconds a record may be older than the latest one (one record in four is).
    pub fn back(mut self, steps: &[i64]) -> Self {
        self.back = steps.to_vec();
        self
    }

    /// One step in five advances the wall clock by one of these.
    pub fn wall_clock(mut self, advances: &[u64]) -> Self {
        self.advances = advances.to_vec();
        self
    }

    /// The steps of scenario `number` of the topology `name`.
    pub fn scenario(&self, name: &str, number: usize) -> Vec<Step> {
        let mut random = Random::new(name, number);
        let (least, most) = (8, 30);
        let mut latest: i64 = 1_000;
        let steps = least + random.below(most - least + 1);
        (0..steps)
            .map(|_| {
                if !self.advances.is_empty() && random.below(5) == 0 {
                    return Step::Advance(*random.of(&self.advances));
                }
                let input = random.of(&self.inputs);
                let timestamp = if !self.back.is_empty() && random.below(4) == 0 {
                    (latest - random.of(&self.back)).max(0)
                } else {
                    latest + random.of(&self.forward)
                };
                latest = latest.max(timestamp);
                let null = |text: &&'static str| (*text != "-").then_some(*text);
                Step::Record {
                    topic: input.topic,
                    key: null(random.of(&input.keys)),
                    value: null(random.of(&input.values)).map(String::from),
                    timestamp,
                }
            })
            .collect()
    }
}

impl Input {
    fn new(topic: &'static str, keys: &'static str, values: &'static str) -> Self {
        Self { topic, keys: keys.split(' ').collect(), values: values.split(' ').collect() }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014), started from a name (FNV-1a) and a number.
struct Random(u64);

impl Random {
    fn new(name: &str, number: usize) -> Self {
        let hash = fnv(name.as_bytes());
        Self(hash ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let at = self.below(choices.len());
        &choices[at]
    }
}

/// FNV-1a, 64 bits.
pub fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// The steps as JSON, as dev/parity reads them.
pub fn to_json(steps: &[Step]) -> String {
    let text = |text: Option<&str>| serde_json::to_string(&text).unwrap();
    let mut json = String::from("[");
    for (number, step) in steps.iter().enumerate() {
        if number > 0 {
            json.push(',');
        }
        match step {
            Step::Record { topic, key, value, timestamp } => {
                let (topic, key, value) = (text(Some(topic)), text(*key), text(value.as_deref()));
                write!(json, "[{topic},{key},{value},{timestamp}]").unwrap();
            }
            Step::Advance(by) => write!(json, "{by}").unwrap(),
        }
    }
    json.push(']');
    json
}
