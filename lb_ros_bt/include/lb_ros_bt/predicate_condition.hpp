#ifndef LB_ROS_BT__PREDICATE_CONDITION_HPP_
#define LB_ROS_BT__PREDICATE_CONDITION_HPP_

#include <memory>
#include <string>

#include "behaviortree_cpp/condition_node.h"

#include "lb_ros_bt/predicate_client.hpp"

namespace lb_ros_bt
{

/// SUCCESS while a predicate has a state, FAILURE while it has another one.
///
/// As the first child of a ReactiveSequence it guards the others: they are halted when the
/// predicate no longer has the state.
class PredicateCondition : public BT::ConditionNode
{
public:
  PredicateCondition(const std::string & name, const BT::NodeConfig & config);

  static BT::PortsList providedPorts();

  BT::NodeStatus tick() override;

private:
  std::shared_ptr<PredicateClient> client_;
};

}  // namespace lb_ros_bt

#endif  // LB_ROS_BT__PREDICATE_CONDITION_HPP_
