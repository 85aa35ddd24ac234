//! Bindings: what the rows of a table mean to which groups, so that every committed change reaches exactly those who
//! may see it.
//!
//! ```
//! use consumers::binding::{Action, Binding};
//! use consumers::{GroupName, Result, Scope};
//! use serde::{Deserialize, Serialize};
//!
//! /// A row, read from the table's columns; as JSON it is what clients see.
//! #[derive(Serialize, Deserialize)]
//! struct Thing {
//!     id: i64,
//!     name: String,
//!     room: i64,
//! }
//!
//! struct Things;
//!
//! impl Binding for Things {
//!     type Row = Thing;
//!     const MODEL: &'static str = "app.thing";
//!     const TABLE: &'static str = "app_thing";
//!     const FIELDS: &'static [&'static str] = &["name", "room"];
//!
//!     fn groups(&self, thing: &Thing) -> Vec<GroupName> {
//!         GroupName::new(format!("room-{}", thing.room)).into_iter().collect()
//!     }
//!
//!     fn subscriptions(&self, scope: &Scope) -> Result<Vec<GroupName>> {
//!         Ok(vec![GroupName::new(format!("room-{}", scope.param::<i64>("room")?))?])
//!     }
//!
//!     async fn permits(&self, _: &Scope, action: Action, _: Option<&Thing>) -> Result<bool> {
//!         Ok(action != Action::Delete)
//!     }
//! }
//! ```
//!
//! A [`Capture`](crate::capture::Capture) binds it to a database, and gives the [`Bound`] that consumers are made of:
//!
//! ```no_run
//! # use consumers::binding::{Action, Binding};
//! # use consumers::{GroupName, Result, Scope};
//! # #[derive(serde::Serialize, serde::Deserialize)]
//! # struct Thing { id: i64 }
//! # struct Things;
//! # impl Binding for Things {
//! #     type Row = Thing;
//! #     const MODEL: &'static str = "app.thing";
//! #     const TABLE: &'static str = "app_thing";
//! #     const FIELDS: &'static [&'static str] = &[];
//! #     fn groups(&self, _: &Thing) -> Vec<GroupName> { Vec::new() }
//! #     fn subscriptions(&self, _: &Scope) -> Result<Vec<GroupName>> { Ok(Vec::new()) }
//! #     async fn permits(&self, _: &Scope, _: Action, _: Option<&Thing>) -> Result<bool> { Ok(true) }
//! # }
//! use std::sync::Arc;
//! use consumers::capture::Capture;
//! use consumers::db::Db;
//! use consumers::{Demultiplexer, InMemoryLayer};
//!
//! # async fn f() -> std::result::Result<(), Box<dyn std::error::Error>> {
//! let mut capture = Capture::new(Db::open("sqlite:app.db").await?, Arc::new(InMemoryLayer::default()));
//! let things = capture.bind(Things);
//! let capturing = capture.start().await?;
//! let app = Demultiplexer::new().stream("things", move |_| Ok(things.consumer()));
//! # Ok(())
//! # }
//! ```
//!
//! # What goes over the socket
//!
//! The payloads are those of data binding in Channels 1, with its faults repaired:
//!
//! | from the client | effect |
//! |---|---|
//! | `{"action":"create","data":{…}}` | a new row, of the fields in [`FIELDS`](Binding::FIELDS) only |
//! | `{"action":"update","pk":…,"data":{…}}` | the named fields of the row are changed |
//! | `{"action":"delete","pk":…}` | the row is deleted |
//! | `{"action":"subscribe"}` | a snapshot, and every change after it |
//! | `{"action":"unsubscribe"}` | no more changes |
//!
//! | to the client | meaning |
//! |---|---|
//! | `{"action":"snapshot","rows":[{"pk","data"}…],"model","begins","complete"}` | all rows that the client may see; what it knew before is void. Many rows come in several frames, the first of which `begins` and the last of which is `complete` |
//! | `{"action":"create","pk","data","model","key"}` | a row that is new to the client |
//! | `{"action":"update","pk","data","model","key"}` | a row as it is now |
//! | `{"action":"delete","pk","model","key"}` | a row that is gone, or no longer for this client |
//! | `{"ok":ACTION,"pk","request_id"}` | the answer to a write that had a `request_id` |
//! | `{"error":…,"action","fields","request_id"}` | the answer to what was not done: nothing was changed, and after a `subscribe` nothing is followed |
//!
//! `error` is `bad request`, `not permitted`, `not found`, `invalid` (then `fields` has a list of reasons for each
//! field) or `not available`. What is told twice, as it may be after a crash, has the same `key`.
//!
//! When changes were lost, a new snapshot comes by itself. If the database or the channel layer is away just then, the
//! socket, or the stream, is closed with 1013, and the client connects and subscribes again.

mod consumer;
mod feed;
mod follower;
mod publish;
mod snapshot;
mod table;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use channel_layer::{ChannelLayer, GroupName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use consumer::BindingConsumer;
pub use feed::Following;
pub(crate) use publish::{Publication, Publisher};

use crate::capture::{Columns, seen};
use crate::db::{Arg, Db, Transaction};
use crate::{Context, Error, Result, Scope};
use feed::Feed;
use follower::Target;

/// What happens to a row, or has happened to it as one group sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It comes into being, or into the group's sight.
    Create,
    /// It changes.
    Update,
    /// It ends, or leaves the group's sight.
    Delete,
}

/// The reasons why fields are not valid, by field.
pub type FieldErrors = BTreeMap<String, Vec<String>>;

/// What the rows of one table mean: who hears of them, who may write them, and what is shown of them.
pub trait Binding: Send + Sync + Sized + 'static {
    /// A row, read from the table's columns by their names (as [`Columns::read`] does) and shown as its JSON.
    /// [`KEY`](Self::KEY) must be a field of it.
    type Row: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The name of the model in frames, as Django writes it: `app.model` in lower case. It tells the bindings of a
    /// site apart.
    const MODEL: &'static str;

    /// The table; on PostgreSQL it may have its schema before it.
    const TABLE: &'static str;

    /// The column of its primary key.
    const KEY: &'static str = "id";

    /// The columns that clients may set, when they create as well as when they update.
    const FIELDS: &'static [&'static str];

    /// The groups that hear of a row.
    fn groups(&self, row: &Self::Row) -> Vec<GroupName>;

    /// The groups that a connection hears when it subscribes.
    ///
    /// # Errors
    /// Whatever stands against its subscribing: a refusal is answered.
    fn subscriptions(&self, scope: &Scope) -> Result<Vec<GroupName>>;

    /// Whether a connection may do this. Asked first: of a create without a row, else with the row as it is stored,
    /// and within the transaction that will write it. It may read the database on another connection; to write there,
    /// it would wait for that transaction.
    fn permits(
        &self,
        scope: &Scope,
        action: Action,
        row: Option<&Self::Row>,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// A column and the value that it has in all rows that a connection may see, so that a snapshot need not read
    /// the others. By default it reads all, and shows those in the connection's groups. A snapshot reads 100,000 rows at
    /// most, shown or not: of a table with more, a `subscribe` is answered with `not available` unless it is narrowed.
    fn narrow(&self, scope: &Scope) -> Option<(&'static str, Arg)> {
        let _ = scope;
        None
    }

    /// Sets the columns that no client sets, such as the owner of a new row or the time of a change.
    fn fill(&self, scope: &Scope, action: Action, columns: &mut Columns) {
        let _ = (scope, action, columns);
    }

    /// Checks a row that a client has made or changed, before it is committed.
    ///
    /// # Errors
    /// The reasons why it is not valid, by field.
    fn validate(&self, row: &Self::Row) -> std::result::Result<(), FieldErrors> {
        let _ = row;
        Ok(())
    }

    /// What a change looks like to those who hear of it; none, and they do not. By default that of Channels 1.
    ///
    /// # Errors
    /// When it cannot be known: everyone who follows the binding then begins anew.
    fn payload(&self, change: &Change<'_, Self::Row>) -> impl Future<Output = Result<Option<Value>>> + Send {
        async { Ok(change.payload(Self::MODEL, Self::KEY)) }
    }
}

/// A committed change of one row, as one group sees it: a row that enters the group's sight has no `before`, and one
/// that leaves it no `after`.
#[derive(Debug)]
#[non_exhaustive]
pub struct Change<'a, R> {
    /// What has happened.
    pub action: Action,
    /// The row as the group knew it.
    pub before: Option<&'a R>,
    /// The row as it is now.
    pub after: Option<&'a R>,
    /// Tells this change from every other one, for ever. What is told twice has the same key.
    pub key: &'a str,
    /// When the change was read after its commit, in microseconds since 1970; larger with each change that one relay
    /// tells.
    pub revision: i64,
}

/// The payload of Channels 1: `{"action","pk","data","model"}`, and our `key`.
#[derive(Serialize)]
struct Payload<'a> {
    action: Action,
    pk: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    model: &'a str,
    key: &'a str,
}

impl<R: Serialize> Change<'_, R> {
    fn payload(&self, model: &str, key_column: &str) -> Option<Value> {
        let (pk, data) = shown(self.after.or(self.before)?, key_column)?;
        let data = self.after.map(|_| data);
        serde_json::to_value(Payload { action: self.action, pk, data, model, key: self.key }).ok()
    }
}

/// The key of a row, and the rest of it.
fn shown<R: Serialize>(row: &R, key_column: &str) -> Option<(Value, Value)> {
    let mut data = serde_json::to_value(row).ok()?;
    let pk = data.as_object_mut()?.remove(key_column)?;
    Some((pk, data))
}

/// A binding with its table in a database and its events on a channel layer; cheap to clone. Made by
/// [`Capture::bind`](crate::capture::Capture::bind).
pub struct Bound<B>(Arc<Inner<B>>);

struct Inner<B> {
    binding: B,
    db: Db,
    feed: Arc<Feed>,
}

impl<B: Binding> Bound<B> {
    pub(crate) fn new(binding: B, db: Db, layer: Arc<dyn ChannelLayer>) -> Self {
        Self(Arc::new(Inner { binding, db, feed: Feed::new(B::MODEL, layer) }))
    }

    /// What was bound.
    #[must_use]
    pub fn binding(&self) -> &B {
        &self.0.binding
    }

    /// A consumer that speaks the protocol of [bindings](self) on its socket or its stream.
    #[must_use]
    pub fn consumer(&self) -> BindingConsumer<B> {
        BindingConsumer::new(self.clone())
    }

    /// Passes on to a client what happens in groups of this binding, after a moment: that of the snapshot of the
    /// transaction that comes with it. What is read in the transaction, and what the client then hears, together
    /// leave nothing out and tell nothing twice.
    ///
    /// The transaction holds a connection to the database, so it has to end before the handler sends anything: a send
    /// waits for a client that does not read.
    ///
    /// What the handler sends before it returns comes before the first change. When changes are lost, the consumer is
    /// told in [`missed`](crate::WebsocketConsumer::missed), and begins anew by calling this again.
    ///
    /// # Errors
    /// When the layer or the database is away.
    pub async fn follow(
        &self,
        ctx: &mut Context,
        groups: Vec<GroupName>,
    ) -> Result<(Following, Transaction)> {
        ctx.outbound().hold();
        let following = self.0.feed.join(Target::of(ctx), groups).await?;
        let mut transaction = self.0.db.begin_read().await.map_err(Error::from)?;
        following.begin(seen(&mut transaction).await?);
        Ok((following, transaction))
    }
}

impl<B> Clone for Bound<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Binding> std::fmt::Debug for Bound<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Bound").field(&B::MODEL).finish()
    }
}
