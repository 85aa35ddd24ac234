//! Clauses about names: their grammar, and those that a layer makes.

use std::collections::HashSet;

use super::Backend;
use super::tools::{Verdict, channel, ensure, layer};
use crate::{ChannelName, GroupName, LayerError, Limits, NAME_LIMIT};

pub(super) async fn names_outside_the_grammar_are_refused(_: &dyn Backend) -> Verdict {
    let long = "chat".repeat(100);
    for name in ["", "=+135!", "a b", "a:b", "é", "٣", "a\n", "!b", "a!b!c", "¯\\_(ツ)_/¯", &long] {
        ensure!(ChannelName::new(name).is_err(), "{name:?} passed as the name of a channel");
        ensure!(GroupName::new(name).is_err(), "{name:?} passed as the name of a group");
    }
    ensure!(ChannelName::new("chat").is_ok() && GroupName::new("chat").is_ok(), "`chat` was refused");
    ensure!(GroupName::new("a!b").is_err(), "a process-specific name passed as the name of a group");
    Ok(())
}

pub(super) async fn bad_prefixes_are_refused(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let long = "x".repeat(NAME_LIMIT);
    for prefix in ["=+135", "a b", "a!b", "a:b", "é", "a\n", "¯\\_(ツ)_/¯", &long] {
        let verdict = layer.new_channel(prefix).await;
        let refused = matches!(verdict, Err(LayerError::InvalidName(_)));
        ensure!(refused, "the prefix {prefix:?} ended with {verdict:?}");
    }
    Ok(())
}

pub(super) async fn only_a_mailbox_receives_from_its_channel(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let mailbox = layer.new_channel("specific").await?;
    for name in [mailbox.name().clone(), channel("not-client-prefix!local_part"), channel("a!")] {
        let verdict = layer.receive(&name).await;
        let refused = matches!(&verdict, Err(LayerError::NotReceivable(refused)) if *refused == name);
        ensure!(refused, "receiving from {name} ended with {verdict:?}");
    }
    Ok(())
}

pub(super) async fn new_names_keep_the_grammar(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    for prefix in ["specific", "A-_.9", "x"] {
        let mailbox = layer.new_channel(prefix).await?;
        let name = mailbox.name().as_str();
        ensure!(name.starts_with(prefix), "{name} does not start with {prefix}");
        ensure!(
            name.matches('!').count() == 1 && !name.ends_with('!'),
            "{name} names no process or no mailbox"
        );
        ensure!(ChannelName::new(name).is_ok(), "{name:?} breaks the grammar");
    }
    Ok(())
}

pub(super) async fn new_names_are_distinct(backend: &dyn Backend) -> Verdict {
    let layers = [layer(backend, Limits::default()).await, layer(backend, Limits::default()).await];
    let mut mailboxes = Vec::new();
    for layer in &layers {
        for _ in 0..1000 {
            mailboxes.push(layer.new_channel("specific").await?);
        }
    }
    let names: HashSet<_> = mailboxes.iter().map(|mailbox| mailbox.name().clone()).collect();
    ensure!(names.len() == 2000, "2000 mailboxes have {} names", names.len());
    let (one, other) = (mailboxes[0].name(), mailboxes[1000].name());
    ensure!(
        one.non_local() != other.non_local(),
        "two layers make names that start with {}",
        one.non_local()
    );
    Ok(())
}
