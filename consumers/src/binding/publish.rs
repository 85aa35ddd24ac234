//! What a change means to which groups, and how it is told over the channel layer.

use std::collections::BTreeSet;

use async_trait::async_trait;
use channel_layer::{GroupName, LayerError, Message};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Action, Binding, Bound, Change};
use crate::Result;
use crate::capture::{Columns, Kind, Recorded, Table};

/// What a relay publishes. A Python consumer hears it in its handler `binding_change`, or `binding_reset`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type")]
pub(crate) enum Published {
    /// A change as one group sees it.
    #[serde(rename = "binding.change")]
    Change(PublishedChange),
    /// Changes were lost, or are too many to be told one by one: who follows begins anew.
    #[serde(rename = "binding.reset")]
    Reset,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PublishedChange {
    /// Of which binding it is.
    pub(crate) model: String,
    /// The group that it is sent to, for a channel may be in several.
    pub(crate) group: GroupName,
    pub(crate) action: Action,
    pub(crate) key: String,
    /// What a snapshot is compared with.
    pub(crate) position: i64,
    /// What clients get.
    pub(crate) payload: Value,
}

/// The group in which all followers of a binding hear that they have to begin anew.
pub(crate) fn model_group(model: &str) -> GroupName {
    let legal = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = "binding.".chars().chain(model.chars().map(legal)).take(99).collect();
    GroupName::new(name).expect("every character is within the grammar, and there are at most 99")
}

/// A message and who gets it.
pub(crate) type Publication = (GroupName, Message);

/// A binding without its types, as the relay has it.
#[async_trait]
pub(crate) trait Publisher: Send + Sync {
    fn table(&self) -> Table;

    /// Whom a change is told, and in which words.
    async fn publications(&self, change: &Recorded, revision: i64) -> Result<Vec<Publication>>;

    /// What tells all followers to begin anew.
    fn reset(&self) -> Result<Publication, LayerError>;
}

#[async_trait]
impl<B: Binding> Publisher for Bound<B> {
    fn table(&self) -> Table {
        Table { name: B::TABLE.to_owned(), key: B::KEY.to_owned() }
    }

    async fn publications(&self, change: &Recorded, revision: i64) -> Result<Vec<Publication>> {
        let read = |columns: &Columns| columns.read::<B::Row>();
        let rows = match &change.kind {
            // A row that gets another key is another row to those who know it by its key.
            Kind::Update { old, new } if old.get(B::KEY) != new.get(B::KEY) => {
                let gone = Recorded { key: format!("{}-gone", change.key), ..change.clone() };
                let mut told = self.told(&gone, revision, Some(&read(old)?), None).await?;
                told.extend(self.told(change, revision, None, Some(&read(new)?)).await?);
                return Ok(told);
            }
            Kind::Insert(new) => read(new).map(|new| (None, Some(new))),
            Kind::Update { old, new } => read(old).and_then(|old| Ok((Some(old), Some(read(new)?)))),
            Kind::Delete(old) => read(old).map(|old| (Some(old), None)),
            Kind::Reset | Kind::ResetAll => return Ok(vec![self.reset()?]),
        };
        let (before, after) = rows?;
        self.told(change, revision, before.as_ref(), after.as_ref()).await
    }

    fn reset(&self) -> Result<Publication, LayerError> {
        Ok((model_group(B::MODEL), Message::new(&Published::Reset)?))
    }
}

impl<B: Binding> Bound<B> {
    /// First who loses sight of the row, then who keeps it, then who gains it.
    async fn told(
        &self,
        change: &Recorded,
        revision: i64,
        before: Option<&B::Row>,
        after: Option<&B::Row>,
    ) -> Result<Vec<Publication>> {
        let binding = &self.0.binding;
        let groups = |row: Option<&B::Row>| {
            row.map(|row| binding.groups(row).into_iter().collect::<BTreeSet<_>>()).unwrap_or_default()
        };
        let (old, new) = (groups(before), groups(after));
        // Who follows a group that loses the row may follow one that keeps it, and has to hear that last.
        let is_same = before.is_some() && old == new && looks(before) == looks(after);
        let lost = old.difference(&new).map(|group| (group, Action::Delete));
        let kept = old.intersection(&new).filter(|_| !is_same).map(|group| (group, Action::Update));
        let gained = new.difference(&old).map(|group| (group, Action::Create));
        let mut told = Vec::new();
        for (group, action) in lost.chain(kept).chain(gained) {
            let (before, after) = match action {
                Action::Delete => (before, None),
                Action::Update => (before, after),
                Action::Create => (None, after),
            };
            let seen = Change { action, before, after, key: &change.key, revision };
            if let Some(payload) = binding.payload(&seen).await? {
                let (model, group, key) = (B::MODEL.to_owned(), group.clone(), change.key.clone());
                let position = change.position;
                let told_to = PublishedChange { model, group: group.clone(), action, key, position, payload };
                told.push((group, Message::new(&Published::Change(told_to))?));
            }
        }
        Ok(told)
    }
}

/// What there is to see of a row.
fn looks<R: Serialize>(row: Option<&R>) -> Option<Value> {
    serde_json::to_value(row?).ok()
}
