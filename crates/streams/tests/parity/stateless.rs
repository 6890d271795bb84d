//! Operators without state, and processors.

use std::time::Duration;

use vigie_streams::{
    BoxError, FixedKeyContext, FixedKeyProcessor, Processor, ProcessorContext, Produced, PunctuationId,
    PunctuationType, Record, Repartitioned, Store, StoreBuilder, StreamsBuilder,
};

use crate::scenario::Plan;
use crate::text::{Key, odd, out, stream, text_store};

parity! {
    filter: Plan::new(), |b| out(&stream(b, "in").filter(|_, v| odd(v))), [];
    filter_not: Plan::new(), |b| out(&stream(b, "in").filter_not(|_, v| odd(v))), [];
    map: Plan::new(), |b| {
        let in_ = stream(b, "in").filter(|_, _| true);
        out(&in_.map(|k, v| (Some(format!("{}!", null(k))), format!("{v}{}", null(k)))));
    }, [];
    map_values: Plan::new(), |b| out(&stream(b, "in").map_values(|v| format!("{v}+"))), [];
    map_values_with_key: Plan::new(), |b| {
        out(&stream(b, "in").map_values_with_key(|k, v| format!("{}{v}", null(k))));
    }, [];
    flat_map: Plan::new(), |b| {
        let in_ = stream(b, "in").filter(|_, _| true);
        out(&in_.flat_map(|k, v| [(Some(v.clone()), null(k)), (Some(null(k)), v.clone())]));
    }, [];
    flat_map_values: Plan::new(), |b| {
        out(&stream(b, "in").filter(|_, _| true).flat_map_values(|v| [v.clone(), format!("{v}{v}")]));
    }, [];
    select_key: Plan::new(), |b| out(&stream(b, "in").filter(|_, _| true).select_key(|_, v| Some(v.clone()))), [];
    peek_and_for_each: Plan::new(), |b| {
        let in_ = stream(b, "in").peek(|_, _| ());
        out(&in_);
        in_.for_each(|_, _| ());
    }, [];
    branch: Plan::new(), |b| {
        let split = stream(b, "in").split();
        let odd = split.branch(|_, v| odd(v));
        let a = split.branch(|k, _| k.as_deref() == Some("a"));
        let rest = split.default_branch();
        odd.to("odd", Produced::default());
        a.to("a", Produced::default());
        rest.to("rest", Produced::default());
    }, [];
    merge: Plan::two_inputs(), |b| {
        let left = stream(b, "left");
        let right = stream(b, "right");
        out(&left.merge(&right.map_values(|v| format!("r{v}"))));
    }, [];
    named_nodes: Plan::new(), |b| {
        let odd = stream(b, "in").named("only-odd").filter(|_, v| odd(v));
        out(&odd.named("plus").map_values(|v| format!("{v}+")));
    }, [];
    several_topics: Plan::two_inputs(), |b| {
        out(&b.stream::<Key, String>(["left", "right"], vigie_streams::Consumed::default()));
    }, [];
    chosen_topic: Plan::new(), |b| {
        let choose = |record: &Record<Key, String>| if record.value.as_deref().is_some_and(odd) { "odd" } else { "even" };
        stream(b, "in").to_chosen(choose, Produced::default());
    }, [];
    repartition: Plan::new(), |b| {
        let by_value = stream(b, "in").filter(|_, _| true).select_key(|_, v| Some(v.clone()));
        let apart = by_value.repartition(Repartitioned::default().named("by-value").partitions(1));
        out(&apart.map_values(|v| format!("{v}+")));
    }, [];
    process: Plan::new(), |b| {
        add_store(b, "seen");
        out(&stream(b, "in").process(|| Remember(None), &["seen"]));
    }, [text_store("seen")];
    process_values: Plan::new(), |b| {
        add_store(b, "last");
        out(&stream(b, "in").process_values(|| Previous, &["last"]));
    }, [text_store("last")];
    punctuate_stream_time: Plan::new().forward(&[0, 1, 20, 49, 50, 51, 150]), |b| {
        add_store(b, "seen");
        out(&stream(b, "in").process(|| Remember(Some(PunctuationType::StreamTime)), &["seen"]));
    }, [text_store("seen")];
    punctuate_wall_clock: Plan::new().wall_clock(&[1, 20, 49, 50, 51, 150]), |b| {
        add_store(b, "seen");
        out(&stream(b, "in").process(|| Remember(Some(PunctuationType::WallClock)), &["seen"]));
    }, [text_store("seen")];
}

fn null(key: &Key) -> String {
    key.clone().unwrap_or_else(|| String::from("null"))
}

fn add_store(builder: &mut StreamsBuilder, name: &'static str) {
    builder.add_state_store(StoreBuilder::key_value(Store::<Key, String>::named(name)));
}

/// Appends each value to what it has of the key; forwards all it has; a null value forgets the key. With a punctuation it tells
/// everything it has each 50 ms.
struct Remember(Option<PunctuationType>);

type Context<'a, 'b, 'c> = &'a mut ProcessorContext<'b, 'c, Key, String>;

impl Processor<Key, String, Key, String> for Remember {
    fn init(&mut self, ctx: Context<'_, '_, '_>) -> Result<(), BoxError> {
        if let Some(kind) = self.0 {
            ctx.schedule(Duration::from_millis(50), kind);
        }
        Ok(())
    }

    fn process(&mut self, ctx: Context<'_, '_, '_>, record: Record<Key, String>) -> Result<(), BoxError> {
        if record.key.is_none() {
            return Ok(());
        }
        let mut seen = ctx.key_value::<Key, String>("seen")?;
        let Some(value) = &record.value else {
            seen.delete(&record.key)?;
            return ctx.forward(record);
        };
        let now = seen.get(&record.key)?.unwrap_or_default() + value;
        seen.put(record.key.clone(), now.clone())?;
        ctx.forward(record.with_value(Some(now)))
    }

    fn punctuate(&mut self, ctx: Context<'_, '_, '_>, _: PunctuationId, at: i64) -> Result<(), BoxError> {
        let all: Vec<(Key, String)> =
            ctx.key_value::<Key, String>("seen")?.all()?.collect::<Result<_, _>>()?;
        for (key, value) in all {
            ctx.forward(Record::new(key, format!("all {value}"), at))?;
        }
        Ok(())
    }
}

/// The value together with the one before.
struct Previous;

impl FixedKeyProcessor<Key, String, String> for Previous {
    fn process(
        &mut self,
        ctx: &mut FixedKeyContext<'_, '_, '_, Key, String>,
        record: Record<Key, String>,
    ) -> Result<(), BoxError> {
        let Some(value) = record.value.clone().filter(|_| record.key.is_some()) else { return Ok(()) };
        let mut last = ctx.key_value::<Key, String>("last")?;
        let before = last.get(&record.key)?.unwrap_or_else(|| String::from("-"));
        last.put(record.key, value.clone())?;
        ctx.forward(format!("{before}>{value}"))
    }
}
