//! The one list of clauses, and the macro that makes a test of each.

/// Stamps a module with one test per clause; see [the module](mod@crate::conformance) of the same name.
///
/// `conformance!(name: backend, [capabilities])`, where `backend` is an expression of a type that implements
/// [`Backend`](crate::conformance::Backend).
#[macro_export]
macro_rules! conformance {
    ($module:ident: $backend:expr, [$($capability:ident),* $(,)?]) => {
        mod $module {
            use super::*;

            // A capability that is misspelt does not compile, rather than switch clauses off.
            const _: &[$crate::conformance::Capability] = &[$($crate::conformance::Capability::$capability),*];

            fn check(clause: &str) {
                let clause = $crate::conformance::Clause::named(clause);
                let verdict = clause.expect("tests and table are made of one list").run(&$backend);
                if let Err(broken) = verdict {
                    panic!("{broken}");
                }
            }

            // Passes a clause on as long as the backend has what the clause needs.
            macro_rules! has {
                $(($capability $clause:ident $rest:tt) => { $crate::__conformance_test! { has $clause $rest } };)*
                ($missing:ident $clause:ident $rest:tt) => {
                    #[test]
                    #[ignore = "the backend does not declare what this clause needs"]
                    fn $clause() {
                        check(stringify!($clause));
                    }
                };
            }

            $crate::__conformance_clauses! { [$crate::__conformance_tests!] has }
        }
    };
}

/// Makes a test of every clause in the list.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ($has:ident $($theme:ident { $($(#[doc = $says:literal])+ $clause:ident [$($need:ident)*])+ })+) => {
        $($($crate::__conformance_test! { $has $clause [$($need)*] })+)+
    };
}

/// Makes a test of one clause, once `$has` was asked for each thing that it needs.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_test {
    ($has:ident $clause:ident []) => {
        #[test]
        fn $clause() {
            check(stringify!($clause));
        }
    };
    ($has:ident $clause:ident [$need:ident $($rest:ident)*]) => {
        $has! { $need $clause [$($rest)*] }
    };
}

/// Hands every clause to a macro, after one argument: theme, what the clause says and whence it comes, its name, and
/// in brackets what it needs. "core", "memory" and "postgres" are the upstream suites of the Redis, in-memory and
/// PostgreSQL layers.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_clauses {
    ([$($callback:tt)+] $argument:tt) => { $($callback)+ { $argument
        names {
            /// A name outside the grammar never reaches a layer
            /// (1.1; core test_reject_bad_channel; layers test_channel_and_group_name_validation).
            names_outside_the_grammar_are_refused []
            /// A prefix that would make a bad name is refused (1.1; core test_reject_bad_channel).
            bad_prefixes_are_refused []
            /// A process-specific channel is received from by its mailbox only
            /// (1.1; core test_reject_bad_client_prefix).
            only_a_mailbox_receives_from_its_channel []
            /// A new name starts with its prefix, keeps the grammar and has one `!` (1.1).
            new_names_keep_the_grammar []
            /// New names are never the same, in one layer or in several, and layers differ before the `!`
            /// (core test_random_reset__channel_name, test_random_reset__client_prefix).
            new_names_are_distinct []
        }
        delivery {
            /// A normal channel carries a message (core test_send_receive).
            a_channel_carries_a_message [Queueing]
            /// A mailbox gets what is sent to its name (core test_process_local_send_receive).
            a_mailbox_gets_what_is_sent_to_it []
            /// A normal channel is first in, first out (1.1; core test_multi_send_receive).
            a_channel_keeps_order [Queueing]
            /// A mailbox is first in, first out (1.1).
            a_mailbox_keeps_order []
            /// Mailboxes are read in any order (core test_double_receive).
            mailboxes_are_read_in_any_order []
            /// What is sent to one channel comes out of no other (1.1).
            channels_do_not_mix [Queueing]
            /// A layer that carried everything reports no losses (layer).
            nothing_lost_is_nothing_counted [Queueing]
        }
        content {
            /// Null, bool, integers to the bounds of 64 bits, doubles, text, bytes, lists and maps arrive as they
            /// were sent (1.1).
            values_arrive_unchanged []
            /// A message of 1 MB passes (1.1).
            a_megabyte_passes []
        }
        racing {
            /// A receiver that waits gets what comes (memory test_race_empty).
            a_waiting_receiver_is_served []
            /// A mailbox that waits gets what comes (1.1).
            a_waiting_mailbox_is_served []
            /// As many messages as there are receivers that wait: each gets one (1.1).
            every_waiting_receiver_is_served [Queueing]
            /// Of many receivers of one channel, one gets each message (1.1; postgres
            /// guarantee_at_most_once_delivery).
            each_message_goes_to_one_receiver [Queueing]
            /// A receive that is cancelled, at whatever moment, loses nothing (core test_receive_cancel).
            a_cancelled_receive_loses_nothing [Queueing]
            /// A mailbox's `recv` that is cancelled, at whatever moment, loses nothing (core test_receive_cancel).
            a_cancelled_recv_loses_nothing []
            /// What a cancelled receiver was woken for goes to the next one (core test_receive_cancel).
            a_cancelled_receiver_leaves_its_message_to_others [Queueing]
            /// Many senders at once lose nothing, double nothing, and each one's order is kept (1.1).
            senders_at_once_are_all_heard_in_order []
        }
        capacity {
            /// A channel holds its capacity, refuses the next message under its own name, and has room again after
            /// a receive (1.1; core test_send_capacity).
            a_full_channel_refuses_until_it_is_read [Queueing Capacity]
            /// The capacity is 100 unless it is set (1.1).
            the_default_capacity_is_100 [Queueing Capacity]
            /// The first pattern that matches sets the capacity (1.1; core test_send_specific_capacity).
            the_first_matching_pattern_counts [Queueing Capacity]
            /// A pattern is matched against the full name, local part and all (1.1).
            patterns_see_the_full_name [Capacity]
            /// Capacity is counted for each full channel name (1.2).
            each_mailbox_has_its_own_room [Capacity]
            /// Of what is sent to a full mailbox, the sender or the mailbox is told, and it is counted (layer).
            a_full_mailbox_loses_nothing_silently [Capacity]
        }
        groups {
            /// Members of any prefix get what is sent to the group, those who left do not
            /// (core and memory test_groups_basic).
            a_group_reaches_its_members_and_nobody_else []
            /// Members of one process-specific prefix all get it (core test_groups_same_prefix).
            members_of_one_prefix_all_hear []
            /// A group's messages arrive in the order of sending (1.1).
            a_group_keeps_order []
            /// Sending to a group without members is no error
            /// (postgres non_existent_group; core test_repeated_group_send_with_async_to_sync).
            an_empty_group_is_no_error []
            /// Discarding who is no member is no error (1.1).
            discarding_a_stranger_is_no_error []
            /// Who is added twice gets one copy, and is discarded at once (1.1).
            adding_twice_is_adding_once []
            /// A channel may be in many groups, and leaves them one by one (1.1).
            groups_are_independent []
            /// A normal channel may be a member (1.1).
            a_normal_channel_may_be_a_member [Queueing]
            /// A full member misses the new messages and is told how many; the sender and other members notice
            /// nothing (core test_groups_channel_full, test_group_send_capacity).
            a_full_member_troubles_nobody_else [Capacity]
            /// A member is told of what it missed where that would have stood (layer).
            what_was_missed_is_told_in_its_place [Capacity]
            /// A member with unread messages gets as many more as fit
            /// (core test_group_send_capacity_multiple_channels).
            a_half_full_member_gets_what_fits [Capacity]
            /// A normal channel that is full misses a group's message, which is counted (layer).
            a_full_normal_member_is_counted [Queueing Capacity]
        }
        expiry {
            /// The earliest message expires, the later ones arrive
            /// (core test_message_expiry__earliest_message_expires; memory test_expiry_multi).
            the_earliest_message_expires [Queueing Expiry]
            /// Messages within the expiry all arrive in order
            /// (core test_message_expiry__all_messages_under_expiration_time).
            messages_in_time_all_arrive [Queueing Expiry]
            /// A channel whose messages all expired is as good as new (memory test_expiry_single).
            a_channel_that_expired_is_empty [Queueing Expiry]
            /// A receiver that waits for longer than the expiry gets what comes then (memory test_race_empty).
            a_receiver_outwaits_the_expiry [Queueing Expiry]
            /// A full channel has room again when its messages have expired (memory test_expiry_unread).
            expired_messages_make_room [Queueing Capacity Expiry]
            /// A group's messages expire as others do (core test_message_expiry__group_send).
            group_messages_expire [Expiry]
            /// What expires for one member is no matter of another's
            /// (core test_message_expiry__group_send__one_channel_expires_message).
            each_member_expires_for_itself [Expiry]
            /// A mailbox is told how many messages expired, and they are counted (layer).
            a_mailbox_is_told_what_expired [Expiry]
            /// A membership ends when `group_expiry` has passed (1.1).
            a_membership_ends [GroupExpiry]
            /// Adding a member again renews its membership (1.1).
            adding_again_renews_a_membership [GroupExpiry]
            /// Who fell out of a group may be added again (1.1).
            a_membership_that_ended_may_begin_again [GroupExpiry]
        }
        life {
            /// A dropped mailbox has left every group (layer).
            a_dropped_mailbox_leaves_every_group []
            /// What is sent to a dropped mailbox is no error for the sender, and counted (layer).
            messages_to_a_dropped_mailbox_are_counted []
            /// A dropped mailbox's messages reach no later one (layer).
            a_dropped_mailbox_has_no_heir []
            /// Flushing drops messages and groups, and leaves mailboxes open (1.1).
            flush_spares_nothing_but_mailboxes [Queueing]
            /// A closed layer refuses what is sent, and ends who waits (layer).
            a_closed_layer_refuses []
        }
        processes {
            /// A mailbox gets what another process sends to it, in order (1.1).
            a_mailbox_hears_other_processes [Processes]
            /// A group reaches its members in every process, once each, whoever sends (1.1).
            a_group_spans_processes [Processes]
            /// A message to a mailbox of another process that is gone is no error, and counted (layer).
            a_mailbox_gone_elsewhere_is_counted [Processes]
            /// A mailbox that is dropped in one process has left its groups for all (layer).
            a_mailbox_dropped_elsewhere_has_left [Processes]
            /// A full member is told what it missed, whichever process sent it (layer).
            a_full_member_elsewhere_is_told [Processes Capacity]
            /// What one process queues, another receives (1.1).
            a_channel_spans_processes [Processes Queueing]
            /// Receivers in two processes share a channel's messages (postgres guarantee_at_most_once_delivery).
            receivers_in_two_processes_share [Processes Queueing]
            /// A channel that is full for one process is full for all (1.1).
            a_channel_is_full_for_all [Processes Queueing Capacity]
            /// A process may add the mailbox of another to a group, and discard it (1.1).
            members_are_managed_from_anywhere [RemoteMembers]
            /// A process may renew the membership of another's mailbox (1.1).
            memberships_are_renewed_from_anywhere [RemoteMembers GroupExpiry]
        }
    } };
}
