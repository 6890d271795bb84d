//! `KStream::print`: records as lines of text.

use std::fmt::Display;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use super::operators::stateless::Peek;
use super::options::Value;
use super::stream::KStream;
use crate::processor::Node;
use crate::record::Record;

type Text<K, V> = Arc<dyn Fn(&K, Option<&V>) -> String + Send + Sync>;
type Writer = Arc<Mutex<dyn Write + Send>>;

/// How [`KStream::print`] writes: `[label]: key, value`, one line a record, to the standard output or to a writer.
pub struct Printed<K, V> {
    text: Text<K, V>,
    label: Option<String>,
    name: Option<Arc<str>>,
    writer: Writer,
}

impl<K: Display + 'static, V: Display + 'static> Printed<K, V> {
    /// Keys and values by their `Display`, to the standard output; a null value is `null`.
    pub fn to_stdout() -> Self {
        Self::by(|key: &K, value: Option<&V>| match value {
            Some(value) => format!("{key}, {value}"),
            None => format!("{key}, null"),
        })
    }
}

impl<K: 'static, V: 'static> Printed<K, V> {
    /// By a function that gives the text behind the label, to the standard output.
    pub fn by(text: impl Fn(&K, Option<&V>) -> String + Send + Sync + 'static) -> Self {
        let writer = Arc::new(Mutex::new(std::io::stdout()));
        Self { text: Arc::new(text), label: None, name: None, writer }
    }

    /// To a writer instead.
    pub fn to_writer(mut self, writer: impl Write + Send + 'static) -> Self {
        self.writer = Arc::new(Mutex::new(writer));
        self
    }

    /// With this label instead of the name of the node before.
    pub fn with_label(mut self, label: &str) -> Self {
        self.label = Some(label.to_owned());
        self
    }

    /// Names the node.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl<K: Value, V: Value> KStream<K, V> {
    /// Writes each record as a line `[label]: key, value`, last of all. Lines may repeat after a crash; a writer that fails is passed over.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use vigie_streams::{Consumed, Printed, StreamsBuilder, TopologyTestDriver};
    /// use vigie_streams::serde::{I64, Utf8};
    /// #[derive(Clone, Default)]
    /// struct Page(Arc<Mutex<Vec<u8>>>);
    /// impl std::io::Write for Page {
    ///     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
    ///         self.0.lock().unwrap().write(bytes)
    ///     }
    ///     fn flush(&mut self) -> std::io::Result<()> {
    ///         Ok(())
    ///     }
    /// }
    /// let page = Page::default();
    /// let mut builder = StreamsBuilder::new();
    /// builder
    ///     .stream("numbers", Consumed::<String, i64>::default())
    ///     .print(Printed::to_stdout().to_writer(page.clone()).with_label("numbers"));
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// driver.input("numbers", Utf8, I64).pipe(&"seven".into(), &7, 0)?;
    /// assert_eq!(page.0.lock().unwrap().as_slice(), b"[numbers]: seven, 7\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn print(&self, printed: Printed<K, V>) {
        let Printed { text, label, name, writer } = printed;
        let mut graph = self.graph.borrow_mut();
        let label = label.unwrap_or_else(|| graph.node_name(self.node));
        let name = graph.name(name.or_else(|| self.next_name.clone()), "KSTREAM-PRINTER-");
        let action = move |record: &Record<K, V>| {
            let line = format!("[{label}]: {}\n", text(&record.key, record.value.as_ref()));
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = writer.write_all(line.as_bytes()).and_then(|()| writer.flush()) {
                tracing::warn!(label, %error, "a record could not be printed");
            }
        };
        #[expect(
            clippy::type_complexity,
            reason = "the operator's own type, spelt out for the closure's sake"
        )]
        let action: Arc<dyn Fn(&Record<K, V>) + Send + Sync> = Arc::new(action);
        graph.add_processor(name, &[self.node], Vec::new(), move |wiring| {
            Node::boxed(Peek { action: Arc::clone(&action), out: wiring.out() })
        });
    }
}
