//! The suite itself on trial: layers that are broken on purpose must each fail the clause that forbids it, the same
//! wrapper with nothing broken must pass, and there must be no clause that nothing can fail.

mod faulty;

use std::collections::BTreeSet;

use channel_layer::conformance::Clause;

use faulty::{Broken, Fault};

#[test]
fn the_honest_wrapper_passes_everything() {
    for clause in Clause::ALL {
        clause.run(&Broken::by(Fault::None)).unwrap_or_else(|broken| panic!("{broken}"));
    }
}

#[test]
fn every_fault_is_caught() {
    let escaped: Vec<_> = Fault::ALL.iter().filter(|fault| failing(**fault).is_empty()).collect();
    assert!(escaped.is_empty(), "no clause fails for {escaped:?}");
}

#[test]
fn every_clause_can_fail() {
    let caught: BTreeSet<_> = Fault::ALL.iter().flat_map(|fault| failing(*fault)).collect();
    // This one is about names before they reach any layer.
    let exempt = "names_outside_the_grammar_are_refused";
    let idle: Vec<_> = Clause::ALL
        .iter()
        .map(|clause| clause.name)
        .filter(|name| *name != exempt && !caught.contains(name))
        .collect();
    assert!(idle.is_empty(), "no fault makes these fail: {idle:?}");
}

#[test]
fn a_clause_that_fails_says_what_was_seen_and_what_was_promised() {
    let clause = Clause::named("a_channel_keeps_order").unwrap();
    let told = clause.run(&Broken::by(Fault::Lifo)).unwrap_err().to_string();
    for part in ["`a_channel_keeps_order`", r#"["6", "5", "4"#, "first in, first out (1.1"] {
        assert!(told.contains(part), "{part} is missing: {told}");
    }
}

#[test]
fn a_stack_is_caught() {
    fails(Fault::Lifo, &["a_channel_keeps_order", "a_channel_spans_processes"]);
}

#[test]
fn late_overtaking_is_caught() {
    fails(Fault::Overtaking, &["a_mailbox_keeps_order", "senders_at_once_are_all_heard_in_order"]);
}

#[test]
fn duplicates_are_caught() {
    fails(Fault::Duplicating, &["a_channel_carries_a_message", "a_mailbox_gets_what_is_sent_to_it"]);
}

#[test]
fn delivery_to_two_receivers_is_caught() {
    fails(Fault::TwoReceivers, &["each_message_goes_to_one_receiver", "receivers_in_two_processes_share"]);
}

#[test]
fn leaking_members_are_caught() {
    fails(Fault::LeakingMembers, &["a_group_reaches_its_members_and_nobody_else", "groups_are_independent"]);
}

#[test]
fn messages_that_never_expire_are_caught() {
    fails(Fault::NeverExpiring, &["the_earliest_message_expires", "a_mailbox_is_told_what_expired"]);
}

#[test]
fn memberships_that_never_end_are_caught() {
    fails(Fault::EndlessMembership, &["a_membership_ends"]);
}

#[test]
fn silent_drops_are_caught() {
    let clauses = ["a_full_member_troubles_nobody_else", "what_was_missed_is_told_in_its_place"];
    fails(Fault::SilentDrop, &clauses);
}

#[test]
fn uncounted_losses_are_caught() {
    fails(
        Fault::Uncounted,
        &["a_full_member_troubles_nobody_else", "messages_to_a_dropped_mailbox_are_counted"],
    );
}

#[test]
fn queues_without_bounds_are_caught() {
    fails(Fault::Unbounded, &["a_full_channel_refuses_until_it_is_read", "the_default_capacity_is_100"]);
}

#[test]
fn messages_lost_by_cancelling_are_caught() {
    fails(Fault::LosingOnCancel, &["a_cancelled_receive_loses_nothing"]);
}

#[test]
fn receivers_that_are_not_woken_are_caught() {
    fails(Fault::Sleeping, &["a_waiting_receiver_is_served"]);
}

#[test]
fn processes_that_do_not_hear_each_other_are_caught() {
    fails(Fault::Islands, &["a_mailbox_hears_other_processes", "a_group_spans_processes"]);
}

/// The clauses that a fault breaks.
fn failing(fault: Fault) -> Vec<&'static str> {
    let broken = Clause::ALL.iter().filter(|clause| clause.run(&Broken::by(fault)).is_err());
    broken.map(|clause| clause.name).collect()
}

#[track_caller]
fn fails(fault: Fault, clauses: &[&str]) {
    for name in clauses {
        let clause = Clause::named(name).unwrap();
        assert!(clause.run(&Broken::by(fault)).is_err(), "{name} holds for a layer that is {fault:?}");
    }
}
