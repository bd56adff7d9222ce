#ifndef LB_ROS_BT__WAIT_FOR_PREDICATE_HPP_
#define LB_ROS_BT__WAIT_FOR_PREDICATE_HPP_

#include <chrono>
#include <memory>
#include <string>

#include "behaviortree_cpp/action_node.h"

#include "lb_ros_bt/predicate_client.hpp"

namespace lb_ros_bt
{

/// RUNNING until a predicate has a state, then SUCCESS; FAILURE after `timeout_s`.
///
/// The node that scores evaluates the wait itself, by its action `wait_for`, so a state that lasts
/// for less than the period of the ticks is seen as well.
class WaitForPredicate : public BT::StatefulActionNode
{
public:
  WaitForPredicate(const std::string & name, const BT::NodeConfig & config);

  static BT::PortsList providedPorts();

  BT::NodeStatus onStart() override;
  BT::NodeStatus onRunning() override;
  void onHalted() override;

private:
  Verdict advance();
  Verdict begin();
  Wait::Action::Goal goal() const;
  BT::NodeStatus report(const Verdict & verdict);
  bool is_late() const;

  std::shared_ptr<PredicateClient> client_;
  std::shared_ptr<Wait> wait_;
  std::chrono::steady_clock::time_point started_;
};

/// What the result of a wait means.
Verdict outcome(const Wait::Action::Result & result);

}  // namespace lb_ros_bt

#endif  // LB_ROS_BT__WAIT_FOR_PREDICATE_HPP_
