#include <gtest/gtest.h>

#include "behaviortree_cpp/exceptions.h"
#include "lb_ros_bt/predicate_states.hpp"

using BT::NodeStatus;
using lb_ros_bt::PredicateStates;
using lb_ros_bt::State;
using lb_ros_bt::Status;

namespace
{
PredicateStates with(State state)
{
  PredicateStates states;
  states.store({{"open", Status{state, 0.7F, 5, "depth 0.7"}}});
  return states;
}

NodeStatus status(const PredicateStates & states, State wanted, NodeStatus unknown)
{
  return states.condition("open", wanted, unknown).status;
}
}  // namespace

TEST(PredicateStates, AConditionFollowsTheState)
{
  const auto fail = NodeStatus::FAILURE;
  EXPECT_EQ(status(with(State::kTrue), State::kTrue, fail), NodeStatus::SUCCESS);
  EXPECT_EQ(status(with(State::kFalse), State::kTrue, fail), NodeStatus::FAILURE);
  EXPECT_EQ(status(with(State::kFalse), State::kFalse, fail), NodeStatus::SUCCESS);
  const auto verdict = with(State::kFalse).condition("open", State::kTrue, fail);
  EXPECT_EQ(verdict.reason, "open is FALSE: depth 0.7");
}

TEST(PredicateStates, UnknownIsWhatTheOptionSays)
{
  const auto states = with(State::kUnknown);
  EXPECT_EQ(status(states, State::kTrue, NodeStatus::RUNNING), NodeStatus::RUNNING);
  EXPECT_EQ(status(states, State::kTrue, NodeStatus::FAILURE), NodeStatus::FAILURE);
  EXPECT_EQ(status(states, State::kUnknown, NodeStatus::FAILURE), NodeStatus::SUCCESS);
  // Known to be otherwise, whatever the option says.
  EXPECT_EQ(status(with(State::kFalse), State::kTrue, NodeStatus::RUNNING), NodeStatus::FAILURE);
}

TEST(PredicateStates, BeforeTheFirstStatesNothingIsKnown)
{
  const PredicateStates states;
  EXPECT_EQ(status(states, State::kTrue, NodeStatus::RUNNING), NodeStatus::RUNNING);
  EXPECT_EQ(status(states, State::kTrue, NodeStatus::FAILURE), NodeStatus::FAILURE);
}

TEST(PredicateStates, APredicateThatIsNotScoredFails)
{
  const auto verdict =
    with(State::kTrue).condition("no such", State::kTrue, NodeStatus::RUNNING);
  EXPECT_EQ(verdict.status, NodeStatus::FAILURE);
  EXPECT_EQ(verdict.reason, "no predicate 'no such' is scored");
}

TEST(PredicateStates, ADeadNodeFailsUntilItPublishesAgain)
{
  auto states = with(State::kTrue);
  states.lose("it died");
  const auto verdict = states.condition("open", State::kTrue, NodeStatus::RUNNING);
  EXPECT_EQ(verdict.status, NodeStatus::FAILURE);
  EXPECT_EQ(verdict.reason, "it died");
  states.find_again();
  // What the node published before it died is not taken for its present state.
  EXPECT_EQ(status(states, State::kTrue, NodeStatus::RUNNING), NodeStatus::RUNNING);
  states.store({{"open", Status{State::kTrue, 0.7F, 5, "depth 0.7"}}});
  EXPECT_EQ(status(states, State::kTrue, NodeStatus::RUNNING), NodeStatus::SUCCESS);
}

TEST(PredicateStates, PortsAreReadStrictly)
{
  for (const auto state : {State::kUnknown, State::kFalse, State::kTrue}) {
    EXPECT_EQ(lb_ros_bt::state_from_text(lb_ros_bt::text_of(state)), state);
  }
  EXPECT_THROW(lb_ros_bt::state_from_text("true"), BT::RuntimeError);
  EXPECT_EQ(lb_ros_bt::unknown_from_text("RUNNING"), NodeStatus::RUNNING);
  EXPECT_EQ(lb_ros_bt::unknown_from_text("FAILURE"), NodeStatus::FAILURE);
  EXPECT_THROW(lb_ros_bt::unknown_from_text("SUCCESS"), BT::RuntimeError);
}
